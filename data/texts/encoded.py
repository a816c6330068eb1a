"""Labelled texts in memory, encoded and split: what every reader of texts returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysweep.core.fingerprints import fingerprint
from raysweep.data.texts.vocabulary import Corpus, Vocabulary

__all__ = ["TextData", "TextSet", "TextStatistics", "encode_sets", "text_statistics"]

_FIRST_WORDS = 10


@dataclass(frozen=True)
class TextSet:
    """Texts as arrays of equal length n.

    Attributes:
        ids: Ids of words, int16 or int32 [n, length]; 0 in front of a short text.
        labels: Class of each text, int64 [n], from 0.
        lengths: How many ids of each row, at its end, are words, int32 [n], from 1 to length.
    """

    ids: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TextStatistics:
    """What a set of texts is like, in words before anything is cut off.

    Attributes:
        num_texts: How many texts.
        mean_length: Words of a text on average.
        shortest: Words of the shortest text.
        longest: Words of the longest text.
        num_words: Distinct words.
        first_words: The ten most frequent words, the most frequent one first.
    """

    num_texts: int
    mean_length: float
    shortest: int
    longest: int
    num_words: int
    first_words: tuple[str, ...]


@dataclass(frozen=True)
class TextData:
    """A whole dataset of labelled texts.

    Attributes:
        name: For people, e.g. `aclImdb`.
        train: Training set.
        validation: Validation set; no text of it is in another set.
        test: Test set.
        vocabulary: Words and their ids.
        class_names: Name of each label.
        statistics: Of the texts that the vocabulary was counted on.
        notes: What differs from the request, in whole sentences for people.
    """

    name: str
    train: TextSet
    validation: TextSet
    test: TextSet
    vocabulary: Vocabulary
    class_names: tuple[str, ...]
    statistics: TextStatistics
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Columns of every array of ids."""
        return int(self.train.ids.shape[1])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def description(self) -> str:
        """One line for people."""
        line = (
            f"{self.name}: {len(self.train):,} training, {len(self.validation):,} validation and "
            f"{len(self.test):,} test texts, {self.num_classes} classes; vocabulary "
            f"{self.vocabulary.size:,}, {self.length:,} words a text"
        )
        return "; ".join((line, *self.notes))

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with any content or with the split, not the name."""
        sets = (self.train, self.validation, self.test)
        arrays = [array for s in sets for array in (s.ids, s.labels, s.lengths)]
        return fingerprint(*arrays, self.vocabulary.words, self.class_names)


def text_statistics(corpus: Corpus, vocabulary: Vocabulary, rows: np.ndarray) -> TextStatistics:
    """Measures the texts that a vocabulary was counted on.

    Args:
        corpus: All texts.
        vocabulary: Counted on `rows`.
        rows: Which texts, int [m], at least one.
    """
    lengths = corpus.lengths[rows]
    return TextStatistics(
        num_texts=len(rows),
        mean_length=float(lengths.mean()),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        num_words=vocabulary.num_distinct,
        first_words=vocabulary.words[:_FIRST_WORDS],
    )


def encode_sets(
    corpus: Corpus,
    labels: np.ndarray,
    vocabulary: Vocabulary,
    length: int,
    sets: Sequence[np.ndarray],
) -> tuple[TextSet, TextSet, TextSet]:
    """Encodes three sets of texts.

    Args:
        corpus: n texts.
        labels: Class of each text, int [n].
        vocabulary: Which words have which id.
        length: Words of a text that are kept, from its end, at least 1.
        sets: Rows of the training, validation and test set, each int [m].

    Returns:
        Training, validation and test set.

    Raises:
        UserError: The length is below 1.
    """

    def encoded(rows: np.ndarray) -> TextSet:
        ids, lengths = corpus.encode(vocabulary, length, rows)
        return TextSet(ids, labels[rows].astype(np.int64), lengths)

    train, validation, test = sets
    return encoded(train), encoded(validation), encoded(test)
