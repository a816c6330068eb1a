"""Classifies texts: the probability of each class, and the words that mattered most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.core.errors import UserError
from raysweep.data.texts.vocabulary import tokenize

if TYPE_CHECKING:
    import pandas as pd

    from raysweep.analysis.word_importance import LeftOut
    from raysweep.cluster.models.text_inputs import GivenText
    from raysweep.cluster.runs.saved_run import SavedRun
    from raysweep.data.texts.vocabulary import Vocabulary

__all__ = ["ClassifiedText", "WordEffect", "classify_texts", "predict_texts"]


@dataclass(frozen=True)
class WordEffect:
    """What leaving a word out does to the probability of the class that the whole text got.

    Attributes:
        word: As the model knows words: lower case, no punctuation.
        count: How often it stands in what the model read; all of these are left out together.
        known: Whether it is in the vocabulary; all others look alike to the model.
        effect: Probability with the word minus probability without, -1 to 1. Above 0, the word
            speaks for the class.
        without: Probability of the class without the word, 0 to 1.
    """

    word: str
    count: int
    known: bool
    effect: float
    without: float


@dataclass(frozen=True)
class ClassifiedText:
    """A text with its probable classes, and what the model read of it.

    Attributes:
        source: Where the text comes from, for people.
        text: As given.
        predicted: The likeliest class.
        probabilities: Of each class, 0 to 1, in the data's order.
        words: The words that moved the probability of `predicted` most, the strongest first.
        num_words: How many words the model read.
        num_rare: How many of these are not in its vocabulary.
        num_cut: How many words in front it did not read, because the text is too long for it.
        num_distinct: Distinct words among those that it read.
    """

    source: str
    text: str
    predicted: str
    probabilities: dict[str, float]
    words: tuple[WordEffect, ...]
    num_words: int
    num_rare: int
    num_cut: int
    num_distinct: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name, as values that JSON has."""
        return asdict(self)


@dataclass(frozen=True)
class _Reading:
    """A text's words, as far as the model reads them, and how many stand before those."""

    tokens: list[str]
    distinct: list[str]
    num_cut: int


def classify_texts(
    run: SavedRun, texts: Sequence[GivenText], top: int = 8, *, progress: bool = False
) -> list[ClassifiedText]:
    """Classifies texts by a run's best model.

    Args:
        run: A run of sentiment.
        texts: One or more.
        top: How many words to name for each; 0 saves the time that it takes to leave them out.
        progress: Whether to show progress on standard error, where it takes more than a moment.

    Returns:
        One for each text, in their order.

    Raises:
        UserError: A text has no words, or the run has no trained model.
    """
    import torch

    from raysweep.analysis.word_importance import EncodedText, leave_out

    tokenized = [tokenize(given.text) for given in texts]
    for given, tokens in zip(texts, tokenized, strict=True):
        if not tokens:
            raise UserError(f"{given.source}: {given.text[:40]!r} has no words; give some text")
    learner: Any = run.best_model()
    # The effect of one word among hundreds is small: bfloat16's rounding would look like one.
    learner.model.dtype = torch.float32
    info, length = run.dataset.info, int(learner.data["train_ids"].shape[1])
    readings = [_reading(tokens, length) for tokens in tokenized]
    encoded = []
    for reading in readings:
        number = {word: k for k, word in enumerate(reading.distinct)}
        groups = np.array([number[word] for word in reading.tokens])
        encoded.append(EncodedText(info.vocabulary.lookup(reading.tokens), groups))
    left_out = leave_out(learner, encoded, words=top > 0, progress=progress)
    return [
        _classified(given, reading, left, info.class_names, info.vocabulary, top)
        for given, reading, left in zip(texts, readings, left_out, strict=True)
    ]


def predict_texts(run: SavedRun, inputs: Sequence[str]) -> pd.DataFrame:
    """Classifies texts; a row for each: source (the text), predicted, `p_CLASS` of each class."""
    import pandas as pd

    from raysweep.cluster.models.text_inputs import read_texts

    return pd.DataFrame(
        [
            {"source": each.text, "predicted": each.predicted}
            | {f"p_{name}": share for name, share in each.probabilities.items()}
            for each in classify_texts(run, read_texts(inputs), top=0)
        ]
    )


def _reading(tokens: list[str], length: int) -> _Reading:
    read = tokens[-length:]
    return _Reading(read, list(dict.fromkeys(read)), len(tokens) - len(read))


def _classified(
    given: GivenText,
    reading: _Reading,
    left: LeftOut,
    class_names: Sequence[str],
    vocabulary: Vocabulary,
    top: int,
) -> ClassifiedText:
    likeliest = int(left.probabilities.argmax())
    without = left.without[:, likeliest]
    effects = left.probabilities[likeliest] - without
    words = []
    for k in np.argsort(-np.abs(effects), kind="stable")[:top].tolist():
        word = reading.distinct[k]
        count, known = reading.tokens.count(word), word in vocabulary.index
        words.append(WordEffect(word, count, known, float(effects[k]), float(without[k])))
    return ClassifiedText(
        source=given.source,
        text=given.text,
        predicted=class_names[likeliest],
        probabilities=dict(zip(class_names, left.probabilities.tolist(), strict=True)),
        words=tuple(words),
        num_words=len(reading.tokens),
        num_rare=sum(word not in vocabulary.index for word in reading.tokens),
        num_cut=reading.num_cut,
        num_distinct=len(reading.distinct),
    )
