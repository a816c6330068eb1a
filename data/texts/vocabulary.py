"""Text as numbers: words, vocabularies in order of frequency, padded arrays of ids.

    corpus = tokenize_all(["Good film!", "a bad film"])
    vocabulary = Vocabulary.build(corpus.words, corpus.counts(), size=5000)
    ids, lengths = corpus.encode(vocabulary, length=500)

Id 0 is padding, ids from 1 are words in order of frequency, and the last id, `size` - 1, stands for
every rarer word: with a size of 5,000 the ids 1 to 4,998 are words and 4,999 is the rest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["PADDING", "Corpus", "Vocabulary", "id_type", "tokenize", "tokenize_all"]

PADDING = 0
"""The id in front of texts that are shorter than the array is long."""

_DROPPED = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n' + "“”„«»–—…•·"
_TABLE = str.maketrans(dict.fromkeys(_DROPPED, " ") | dict.fromkeys("‘’´", "'"))
_ROWS_AT_ONCE = 4096


def tokenize(text: str) -> list[str]:
    """Returns a text's words in lower case, punctuation dropped.

    The words are those of Keras's `text_to_word_sequence`, which made the published ids of IMDB:
    punctuation becomes spaces, and what stands between spaces is a word. Apostrophes stay
    (`don't`), hyphens and HTML do not (`<br />` becomes `br`). Beyond Keras, typographic
    punctuation is treated like the plain one. Languages written without spaces are not divided.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.lower().translate(_TABLE).split()


@dataclass(frozen=True)
class Vocabulary:
    """The most frequent words, in order of frequency; equal counts in alphabetical order.

    Attributes:
        words: Word k has the id k + 1.
        counts: How often each occurs in the training texts, int64 [len(words)].
        num_distinct: Distinct words of the training texts, those without an id of their own too.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    num_distinct: int

    @classmethod
    def build(cls, words: Sequence[str], counts: np.ndarray, size: int) -> Vocabulary:
        """Chooses the most frequent words.

        Args:
            words: Distinct words, [n].
            counts: How often each occurs, int [n]; those that never occur are left out.
            size: Number of ids, padding and rare words included, at least 3. Where there are fewer
                words than that, the vocabulary is smaller.

        Raises:
            UserError: The size is below 3.
        """
        if size < 3:
            raise UserError(
                f"vocabulary_size: {size} is below 3 (padding, one word, rare words); use e.g. 5000"
            )
        present = np.flatnonzero(counts)
        if len(present) > size:  # only these can be among the first: sorts a few, not all
            least = np.partition(counts[present], -size)[-size]
            candidates = present[counts[present] >= least]
        else:
            candidates = present
        order = sorted(candidates.tolist(), key=lambda k: (-int(counts[k]), words[k]))[: size - 2]
        chosen = np.array([counts[k] for k in order], np.int64)
        return cls(tuple(words[k] for k in order), chosen, len(present))

    @property
    def rare_id(self) -> int:
        """The id of every word that has none of its own: the last one."""
        return len(self.words) + 1

    @property
    def size(self) -> int:
        """Number of ids: the rows that an embedding table needs."""
        return len(self.words) + 2

    @cached_property
    def index(self) -> dict[str, int]:
        """Word to id."""
        return {word: k for k, word in enumerate(self.words, 1)}

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """Returns the ids of words, int32 [len(words)]."""
        ids = (self.index.get(word, self.rare_id) for word in words)
        return np.fromiter(ids, np.int32, len(words))

    def word(self, number: int) -> str:
        """Returns an id's word: empty for padding, `<rare>` for rare words; else IndexError."""
        if not 0 <= number < self.size:
            raise IndexError(f"id {number} is not in a vocabulary of {self.size}")
        if number == PADDING:
            return ""
        return "<rare>" if number == self.rare_id else self.words[number - 1]

    def encode(self, texts: Iterable[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Encodes new texts; see `Corpus.encode` for shapes and errors."""
        return tokenize_all(texts).encode(self, length)


@dataclass(frozen=True)
class Corpus:
    """Texts as numbered words.

    Attributes:
        words: The distinct words; a word's code is its index here.
        codes: The words of all texts, one text after another, int32 [total].
        offsets: Text k is `codes[offsets[k]:offsets[k + 1]]`, int64 [num_texts + 1].
    """

    words: Sequence[str]
    codes: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text, int64 [num_texts]."""
        return np.diff(self.offsets)

    def counts(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Returns how often each word occurs in the texts `rows`, int [m], default all; int64."""
        codes: np.ndarray = self.codes
        if rows is not None:
            chosen = np.zeros(len(self), bool)
            chosen[rows] = True
            codes = codes[np.repeat(chosen, self.lengths)]
        return np.bincount(codes, minlength=len(self.words)).astype(np.int64)

    def encode(
        self, vocabulary: Vocabulary, length: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Makes an array of ids: short texts padded in front, long ones cut off in front.

        Args:
            vocabulary: Which words have which id.
            length: Columns of the array, at least 1.
            rows: Which texts, int [n], in this order; default all.

        Returns:
            Ids, int16 or int32 [n, length], and how many of each row's ids, at its end, are words,
            int32 [n].

        Raises:
            UserError: The length is below 1.
        """
        if length < 1:
            raise UserError(f"length: {length} words a text are too few; use 1 or more, e.g. 500")
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        table = vocabulary.lookup(self.words).astype(id_type(vocabulary.size))
        ids = np.full((len(rows), length), PADDING, table.dtype)
        ends = self.offsets[1:][rows]
        lengths = np.minimum(self.lengths[rows], length)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            back = np.arange(length, 0, -1)  # of each column: words from here to the text's end
            filled = back <= lengths[part, None]
            ids[part][filled] = table[self.codes[(ends[part, None] - back)[filled]]]
        return ids, lengths.astype(np.int32)


class _Codes(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = code = len(self)
        return code


def tokenize_all(texts: Iterable[str]) -> Corpus:
    """Divides texts into words and numbers these as they first appear.

    25,000 film reviews take about 2 s on one core, so that no second one is needed.
    """
    codes = _Codes()
    parts = []
    for text in texts:
        words = tokenize(text)
        parts.append(np.fromiter(map(codes.__getitem__, words), np.int32, len(words)))
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return Corpus(list(codes), np.concatenate(parts or [np.zeros(0, np.int32)]), offsets)


def id_type(size: int) -> type[np.signedinteger]:
    """Returns the smallest of int16 and int32 that holds the ids below `size`."""
    return np.int16 if size <= np.iinfo(np.int16).max + 1 else np.int32
