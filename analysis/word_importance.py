"""Which words moved a classifier: each is left out in turn, and the probabilities compared.

This is erasure of input words after Li, Monroe and Jurafsky, "Understanding Neural Networks through
Representation Erasure" (2016, arXiv:1612.08220). Nothing but the network's predictions is used, so
that the result means the same for every architecture.

All occurrences of a word are left out together: a review that says "dull" three times stays dull
without one of them. What is left moves together, as if the word had never been written. A text
whose beginning was cut off gets none of it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from raysweep.core.progress_line import progress_line

if TYPE_CHECKING:
    from raysweep.trainables.texts.sentiment import Sentiment

__all__ = ["EncodedText", "LeftOut", "leave_out"]

# Ids that are built at once: 1,000 texts of 500 words, enough to keep every core busy for a second.
_IDS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class EncodedText:
    """A text as the network reads it, and which of its positions hold the same word.

    Attributes:
        ids: Its ids, int [m], from 1 word to as many as the network reads.
        groups: Number of each position's distinct word, int [m]: 0 to `num_groups` - 1. Rare words
            share one id and still are different words here.
    """

    ids: np.ndarray
    groups: np.ndarray

    @property
    def num_groups(self) -> int:
        """Distinct words."""
        return int(self.groups.max()) + 1

    @property
    def num_variants(self) -> int:
        """The text itself, and one without each of its words, where something is left then."""
        return self.num_groups + 1 if self.num_groups > 1 else 1


@dataclass(frozen=True)
class LeftOut:
    """Probabilities of a text's classes.

    Attributes:
        probabilities: Of the whole text, float64 [num_classes].
        without: Of the text without each distinct word, float64 [num_groups, num_classes]. It has
            no rows for a text of one distinct word: no network was trained on a text of none, and
            what it would say means nothing.
    """

    probabilities: np.ndarray
    without: np.ndarray


def leave_out(
    learner: Sentiment,
    texts: Sequence[EncodedText],
    *,
    words: bool = True,
    progress: bool = False,
) -> list[LeftOut]:
    """Classifies texts, whole and without each of their words, many variants at a time.

    Args:
        learner: A trained model. Small effects need its activations in float32: in bfloat16,
            rounding looks like an effect.
        texts: What to read.
        words: Whether to leave words out; else `without` has no rows.
        progress: Whether to show progress on standard error, where it takes more than a moment.
    """
    if not texts:
        return []
    length = int(learner.data["train_ids"].shape[1])
    counts = [text.num_variants if words else 1 for text in texts]
    at_once = max(1, _IDS_AT_ONCE // length)
    pieces = (
        _variants(text, length, range(first, min(first + at_once, count)))
        for text, count in zip(texts, counts, strict=True)
        for first in range(0, count, at_once)
    )
    total, scored = sum(counts), list[np.ndarray]()
    with progress_line("reading texts", total, shown=progress and total > at_once) as done:
        for batch in _batches(pieces, at_once):
            scored.append(_probabilities(learner, batch))
            done(sum(map(len, scored)))
    rows = np.split(np.concatenate(scored), np.cumsum(counts)[:-1])
    return [LeftOut(probabilities[0], probabilities[1:]) for probabilities in rows]


def _variants(text: EncodedText, length: int, numbers: range) -> tuple[np.ndarray, np.ndarray]:
    """Variants of a text: 0 is the whole, k the one without its group k - 1.

    Returns:
        Ids, int32 [len(numbers), length], padded in front, and words of each, int32.
    """
    left_out = np.arange(numbers.start, numbers.stop) - 1  # -1: none, [variants]
    kept = text.groups[None, :] != left_out[:, None]  # [variants, m]
    lengths = kept.sum(1, dtype=np.int32)  # [variants]
    ids = np.zeros((len(kept), length), np.int32)
    # Row by row, as many positions are filled as are kept, so that both sides are in one order.
    filled = np.arange(length, 0, -1) <= lengths[:, None]  # [variants, length]
    ids[filled] = np.broadcast_to(text.ids, kept.shape)[kept]
    return ids, lengths


def _batches(
    pieces: Iterable[tuple[np.ndarray, np.ndarray]], at_once: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Joins pieces, in order, to batches of at most twice `at_once` rows."""
    batch: list[tuple[np.ndarray, np.ndarray]] = []
    for piece in pieces:
        batch.append(piece)
        if sum(len(lengths) for _, lengths in batch) >= at_once:
            yield np.concatenate([p[0] for p in batch]), np.concatenate([p[1] for p in batch])
            batch = []
    if batch:
        yield np.concatenate([p[0] for p in batch]), np.concatenate([p[1] for p in batch])


def _probabilities(learner: Sentiment, batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    learner.model.eval()
    with torch.inference_mode():
        scores = learner.scores(*(learner.tensor(array) for array in batch))  # [rows, classes]
        probabilities: np.ndarray = scores.double().softmax(1).cpu().numpy()
    return probabilities
