"""Which text the sequence models read: any file, as characters or as words, or film reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raysweep.core.config import Config, option
from raysweep.data.texts.characters import SequenceData, load
from raysweep.trainables.embedding import Embedding

__all__ = ["SequenceConfig", "WordsConfig", "load_sequence", "load_words", "symbol_embedding"]

_LONGEST_REVIEW = 2500  # words; the longest one of the official training set has 2,493
_INVISIBLE = {" ": "space", "\n": "line break", "\t": "tab"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceConfig(Config):
    """Which text, and what a symbol of it is."""

    dataset: str = option("nietzsche", "nietzsche, or a text file of yours")
    data_dir: str | None = option(None, "folder with your copy of the dataset")
    unit: str = option("characters", "what is predicted", choices=("characters", "words"))
    lower: bool = option(True, "put characters into lower case; words always are")
    vocabulary_size: int = option(5000, "ids for words, padding and rare words included", low=3)
    encoding: str = option("", "how the file is written; utf-8, but latin-1 for nietzsche")


@dataclass(frozen=True, kw_only=True, slots=True)
class WordsConfig(Config):
    """Which text the word vectors are learned from."""

    dataset: str = option("imdb", "imdb, nietzsche, or a text file of yours")
    data_dir: str | None = option(None, "folder with your copy of the dataset")
    vocabulary_size: int = option(10_000, "ids, padding and rare words included", low=3)
    encoding: str = option("", "how a text file is written; utf-8, but latin-1 for nietzsche")


def load_sequence(config: SequenceConfig) -> SequenceData:
    """Reads the text that a configuration names; see `data.characters.load` for refusals."""
    return load(
        _locate(config.dataset, config.data_dir),
        unit=config.unit,
        lower=config.lower,
        vocabulary_size=config.vocabulary_size,
        sequence_length=1,
        encoding=config.encoding or _encoding(config.dataset),
    )


def load_words(config: WordsConfig) -> SequenceData:
    """Reads a text as words, or the film reviews one after another with a 0 between each."""
    if config.dataset != "imdb":
        return load(
            _locate(config.dataset, config.data_dir),
            unit="words",
            vocabulary_size=config.vocabulary_size,
            sequence_length=1,
            encoding=config.encoding or _encoding(config.dataset),
        )
    from raysweep.data.sources.fetch import fetch, locate
    from raysweep.data.texts import imdb

    path = locate("imdb", config.data_dir) or fetch("imdb", data_dir=config.data_dir)
    reviews = imdb.load(path, vocabulary_size=config.vocabulary_size, length=_LONGEST_REVIEW)
    return SequenceData(
        name=reviews.name,
        unit="words",
        lower=True,
        symbols=("", *reviews.vocabulary.words, "<rare>"),
        train=_joined(reviews.train.ids),
        validation=_joined(reviews.validation.ids),
        test=_joined(reviews.test.ids),
    )


def symbol_embedding(
    table: Tensor, symbols: Sequence[str], unit: str, train_ids: Tensor
) -> dict[str, Embedding]:
    """The vectors of a text's characters or words, the most frequent ones first.

    Args:
        table: float [len(symbols), dim].
        symbols: as in `SequenceData`; padding and rare words are left out.
        unit: `characters` or `words`.
        train_ids: the training block, int [n].
    """
    known = slice(1, -1) if unit == "words" else slice(1, None)
    counts = torch.bincount(train_ids.long(), minlength=len(symbols)).cpu().numpy()[known]
    names = [_readable(symbol) for symbol in symbols[known]]
    columns = {unit.removesuffix("s"): names, "count": counts.tolist()}
    return {unit: Embedding.ranked(table[known], counts, columns)}


def _readable(symbol: str) -> str:
    """A symbol that can be seen: white space by its name, what has no glyph by its number."""
    if symbol in _INVISIBLE:
        return _INVISIBLE[symbol]
    return "".join(c if c.isprintable() and c != " " else f"U+{ord(c):04X}" for c in symbol)


def _joined(ids: np.ndarray) -> np.ndarray:
    """Rows of ids, padded in front, as one row with a single 0 before each."""
    ids = ids.copy()
    ids[:, 0] = 0
    kept = ids != 0
    kept[:, :-1] |= ids[:, 1:] != 0
    joined: np.ndarray = ids[kept]
    return joined


def _encoding(dataset: str) -> str:
    """The published file of Nietzsche is not UTF-8, and its figures count bytes."""
    return "latin-1" if dataset == "nietzsche" else "utf-8"


def _locate(dataset: str, data_dir: str | None) -> Path:
    from raysweep.data.sources.fetch import CATALOGUE, fetch

    if dataset in CATALOGUE:
        return fetch(dataset, data_dir=data_dir)
    return Path(data_dir or ".", dataset).expanduser()
