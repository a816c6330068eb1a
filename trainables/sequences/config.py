"""The fields of sequence models, and of the text that they read: any file, or film reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.data.texts.characters import SequenceData, load
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.optim import TrainingConfig

__all__ = [
    "CELLS",
    "CharRNNConfig",
    "SequenceConfig",
    "WordVectorsConfig",
    "WordsConfig",
    "load_sequence",
    "load_words",
    "symbol_embedding",
]

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
"""Recurrent layers by the name that the field `cell` has for them."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class CharRNNConfig(TrainingConfig):
    """Fields of the network, from its input to its output."""

    cell: str = option("lstm", "kind of recurrent unit", choices=tuple(CELLS))
    embedding_size: int = option(64, "numbers that stand for a symbol", low=1, high=4096)
    hidden_size: int = option(384, "units of each recurrent layer", low=1, high=8192)
    num_layers: int = option(1, "recurrent layers, one on another", low=1, high=16)
    input_dropout: float = option(0.0, "share of the embedding's values dropped", low=0, high=0.95)
    layer_dropout: float = option(
        0.2, "share dropped between recurrent layers; one layer has no between", low=0, high=0.95
    )
    output_dropout: float = option(
        0.4, "share of the last layer's values dropped before the output", low=0, high=0.95
    )
    tied_weights: bool = option(False, "output layer and embedding share their weights")
    sequence_length: int = option(64, "symbols of a window, for gradients", low=1, high=100_000)
    carry_state: bool = option(True, "a window starts in the state that the one before left")
    predict: str = option(
        "every",
        "learn every next symbol, or only the one after a window",
        choices=("every", "last"),
    )
    max_norm: float = option(1.0, "longest gradient; longer ones are cut to it", low=1e-6)
    epochs: int = option(15, "passes over the training text", low=1)
    batch_size: int = option(32, "streams of text read side by side", low=1)
    learning_rate: float = option(4e-3, "step size at its highest", low=1e-7, high=10.0)
    schedule: str = option(
        "cosine",
        "learning rate over the run: constant, linear or cosine to zero, or lr_phases",
        choices=("constant", "linear", "cosine", "phases"),
    )

    def search_ranges(self) -> Mapping[str, Any]:
        """One layer has no between to place dropout at."""
        rates = {"sgd": (5e-2, 2.0), "adam": (5e-4, 1e-2), "adagrad": (5e-3, 0.2)}
        ranges: dict[str, Any] = {"learning_rate": rates, "batch_size": [16, 32, 64, 128]}
        return ranges if self.num_layers > 1 else {**ranges, "layer_dropout": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class WordVectorsConfig(TrainingConfig):
    """Fields of both tasks."""

    task: str = option(
        "corrupted",
        "tell real windows from corrupted ones, or skip-gram with negative sampling",
        choices=("corrupted", "skip_gram"),
    )
    window: int = option(11, "words of a window, an odd number", low=3, high=101)
    embedding_size: int = option(50, "numbers that stand for a word", low=1, high=4096)
    hidden_size: int = option(100, "units of the hidden layer; corrupted only", low=1, high=8192)
    embedding_dropout: float = option(0.0, "share of vectors' values dropped", low=0, high=0.95)
    hidden_dropout: float = option(0.0, "share of hidden units dropped", low=0, high=0.95)
    num_negatives: int = option(5, "random words a window; skip_gram only", low=1, high=1000)
    noise_power: float = option(
        0.75, "random words are drawn by frequency to this power; 0: all alike", low=0.0, high=2.0
    )
    frequent: float = option(
        1e-3,
        "share of the text; windows around more frequent words weigh less, by the square root; "
        "1: all weigh the same",
        low=1e-7,
        high=1.0,
    )
    epochs: int = option(5, "passes over every window", low=1)
    batch_size: int = option(1024, "windows a step", low=1)
    learning_rate: float = option(3e-3, "step size at its highest", low=1e-7, high=10.0)

    def check(self) -> None:
        """Refuses windows without a middle."""
        TrainingConfig.check(self)
        if self.window % 2 == 0:
            raise UserError(
                f"window={self.window} has no middle word; use {self.window - 1} or "
                f"{self.window + 1}"
            )

    def search_ranges(self) -> Mapping[str, Any]:
        """Vectors as large as published ones; no dropout in a layer that skip-gram lacks."""
        ranges: dict[str, Any] = {
            "embedding_size": (16, 300),
            "learning_rate": {"sgd": (5e-2, 2.0), "adam": (5e-4, 2e-2), "adagrad": (1e-2, 0.5)},
            "batch_size": [256, 512, 1024, 2048],
        }
        return ranges if self.task == "corrupted" else {**ranges, "hidden_dropout": None}


def load_sequence(config: SequenceConfig) -> SequenceData:
    """Reads the text that a configuration names; see `data.characters.load` for refusals."""
    from raysweep.data.sources.fetch import dataset_path

    return load(
        dataset_path(config.dataset, config.data_dir),
        unit=config.unit,
        lower=config.lower,
        vocabulary_size=config.vocabulary_size,
        sequence_length=1,
        encoding=config.encoding or _encoding(config.dataset),
    )


def load_words(config: WordsConfig) -> SequenceData:
    """Reads a text as words, or the film reviews one after another with a 0 between each."""
    from raysweep.data.sources.fetch import dataset_path, fetch, locate

    if config.dataset != "imdb":
        return load(
            dataset_path(config.dataset, config.data_dir),
            unit="words",
            vocabulary_size=config.vocabulary_size,
            sequence_length=1,
            encoding=config.encoding or _encoding(config.dataset),
        )
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
