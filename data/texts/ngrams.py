"""Runs of words (n-grams): which of them each text has, as ids.

    index = NgramIndex.build(train_ids, vocabulary_size=5000, longest=3)
    ngrams = index.encode(ids)

Only presence counts, not how often: a review that says "not good" twice is not twice as bad
(Wang and Manning, "Baselines and Bigrams", ACL 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["NgramIndex"]

_ROWS_AT_ONCE = 2048
_LEAST_TEXTS = 2  # an n-gram of one training text says whose text it is, and nothing else
_NONE = -1


@dataclass(frozen=True)
class NgramIndex:
    """The n-grams that at least two training texts have. Ids are from 1, shorter n-grams first.

    Attributes:
        keys: All n-grams as numbers whose digits are the words' ids, int64 [m]; ascending among
            those of one length.
        ends: How many n-grams have up to 0, 1, … words, int64 [longest + 1]; the last one is m.
        vocabulary_size: The base of those numbers.
    """

    keys: np.ndarray
    ends: np.ndarray
    vocabulary_size: int

    @classmethod
    def build(cls, ids: np.ndarray, vocabulary_size: int, longest: int) -> NgramIndex:
        """Counts the training texts that have each n-gram.

        Args:
            ids: Training texts, int [n, length], padded with 0 in front.
            vocabulary_size: Number of ids of words.
            longest: Words of the longest n-grams, at least 1.

        Returns:
            The index of those that at least two texts have.

        Raises:
            UserError: There are too many possible n-grams to number.
        """
        if vocabulary_size**longest >= 2**63:
            raise UserError(
                f"ngrams={longest} is too long for vocabulary_size={vocabulary_size}; lower one"
            )
        by_length = []
        for words in range(1, longest + 1):
            parts = (_once_each(rows) for rows in _keys(ids, vocabulary_size, words))
            keys, counts = np.unique(
                np.concatenate([p[p != _NONE] for p in parts]), return_counts=True
            )
            by_length.append(keys[counts >= _LEAST_TEXTS])
        ends = np.cumsum([0, *map(len, by_length)])
        return cls(np.concatenate(by_length), ends, vocabulary_size)

    def encode(self, ids: np.ndarray) -> np.ndarray:
        """Finds the n-grams of texts.

        Args:
            ids: Texts, int [n, length], padded with 0 in front.

        Returns:
            Ids of the n-grams that each text has, each once, ascending, int32 [n, most]; 0 in front
            where a text has fewer than `most`.
        """
        lengths = range(1, len(self.ends))
        by_length = (_keys(ids, self.vocabulary_size, words) for words in lengths)
        parts = []
        for chunk in zip(*by_length, strict=True):
            numbers = [self._find(keys, words) for words, keys in enumerate(chunk, 1)]
            rows = np.sort(_once_each(np.concatenate(numbers, 1), nothing=0), axis=1)
            parts.append(rows[:, rows.shape[1] - int((rows > 0).sum(1).max(initial=1)) :])
        most = max((part.shape[1] for part in parts), default=1)
        return np.concatenate(
            [np.pad(part, ((0, 0), (most - part.shape[1], 0))) for part in parts]
            or [np.zeros((0, most), np.int32)]
        )

    def _find(self, keys: np.ndarray, words: int) -> np.ndarray:
        """The ids of n-grams of so many words, given as keys; 0 for those without an id."""
        first, last = self.ends[words - 1 : words + 1]
        indexed = self.keys[first:last]
        if not len(indexed):
            return np.zeros(keys.shape, np.int32)
        positions = np.searchsorted(indexed, keys).clip(max=len(indexed) - 1)
        return np.where(indexed[positions] == keys, positions + first + 1, 0).astype(np.int32)


def _keys(ids: np.ndarray, base: int, words: int) -> Iterator[np.ndarray]:
    """Yields the n-grams that start at each position of some texts, int64 [rows, length]."""
    length = ids.shape[1]
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        rows = ids[start : start + _ROWS_AT_ONCE].astype(np.int64)
        keys = np.full(rows.shape, _NONE)
        starts = max(length - words + 1, 0)
        total = np.zeros((len(rows), starts), np.int64)
        for k in range(words if starts else 0):
            total = total * base + rows[:, k : k + starts]
        # Padding stands in front, so that a run whose first id is a word holds words only.
        keys[:, :starts] = np.where(rows[:, :starts] > 0, total, _NONE)
        yield keys


def _once_each(rows: np.ndarray, nothing: int = _NONE) -> np.ndarray:
    """Sorts each row and replaces repeated values."""
    rows = np.sort(rows, axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = nothing
    return rows
