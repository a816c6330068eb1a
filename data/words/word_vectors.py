"""Words as vectors: the nearest words, analogies, an embedding table for a vocabulary."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.data.texts.vocabulary import PADDING, Vocabulary

__all__ = ["VocabularyVectors", "WordVectors", "vocabulary_vectors"]

_TAKEN = re.compile(r"[a-zA-Z0-9-]+")
_SUGGEST_AMONG = 50_000
_ROWS_AT_ONCE = 1 << 16
Neighbours = list[tuple[str, float]]


@dataclass(frozen=True)
class WordVectors:
    """Words with a vector each.

    Attributes:
        words: Distinct words, [n], usually the most frequent one first.
        vectors: float32 [n, dim], all finite; may be memory-mapped and read-only.
        num_skipped: Rows of the source that were left out because they were bad.
    """

    words: Sequence[str]
    vectors: np.ndarray
    num_skipped: int = 0

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return self._row(word) is not None

    def __getitem__(self, word: str) -> np.ndarray:
        return self.vectors[self.row(word)]

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    @cached_property
    def index(self) -> dict[str, int]:
        """Word to row."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def norms(self) -> np.ndarray:
        """Length of each vector, float32 [n]; 1 for a vector of zeros, so that dividing works."""
        starts = range(0, len(self), _ROWS_AT_ONCE)
        parts = [np.linalg.norm(self.vectors[k : k + _ROWS_AT_ONCE], axis=1) for k in starts]
        norms = np.concatenate(parts).astype(np.float32)
        norms[norms == 0] = 1
        return norms

    def row(self, word: str) -> int:
        """Returns a word's row; where there is none, that of the word in lower case.

        Raises:
            UserError: There is neither; the message has the most similar words.
        """
        row = self._row(word)
        if row is None:
            raise UserError(f"no vector for '{word}'{self._suggestions(word)}")
        return row

    def unit(self, word: str) -> np.ndarray:
        """Returns a word's vector at length 1, float32 [dim]; see `row` for errors."""
        row = self.row(word)
        return self.vectors[row] / self.norms[row]

    def neighbours(self, word: str, k: int = 10) -> Neighbours:
        """Returns the k words nearest to a word, by cosine, nearest first; see `row` for errors."""
        row = self.row(word)
        return self.nearest(self.vectors[row], k, leave_out=(row,))

    def analogy(self, a: str, b: str, c: str, k: int = 1) -> Neighbours:
        """Completes "a is to b as c is to …": the words nearest to b - a + c, all at length 1.

        Args:
            a: e.g. `man`.
            b: e.g. `king`.
            c: e.g. `woman`.
            k: How many words.

        Returns:
            Words and cosines, best first; never a, b or c, which usually lie nearest.

        Raises:
            UserError: A word is not known, or k is below 1.
        """
        goal = self.unit(b) - self.unit(a) + self.unit(c)
        return self.nearest(goal, k, leave_out=[self.row(word) for word in (a, b, c)])

    def nearest(self, vector: np.ndarray, k: int, leave_out: Iterable[int] = ()) -> Neighbours:
        """Returns the k words with the largest cosine to a vector, float [dim], best first.

        Args:
            vector: Where to look.
            k: How many words; all where there are fewer.
            leave_out: Rows to leave out.

        Returns:
            Words and cosines.

        Raises:
            UserError: k is below 1.
        """
        if k < 1:
            raise UserError(f"k: {k} words are too few; ask for 1 or more")
        length = float(np.linalg.norm(vector)) or 1.0
        cosines = self.vectors @ (np.asarray(vector, np.float32) / length) / self.norms
        left_out = np.unique(np.fromiter(leave_out, np.int64))
        cosines[left_out] = -np.inf
        k = min(k, len(self) - len(left_out))
        best = np.argpartition(-cosines, k - 1)[:k] if k else np.zeros(0, np.int64)
        best = best[np.lexsort((best, -cosines[best]))]
        return [(self.words[row], float(cosines[row])) for row in best.tolist()]

    def _row(self, word: str) -> int | None:
        row = self.index.get(word)
        return self.index.get(word.lower()) if row is None else row

    def _suggestions(self, word: str) -> str:
        close = _similar(word.lower(), self.words[:_SUGGEST_AMONG])
        return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def _similar(lower: str, words: Sequence[str], num: int = 3) -> list[str]:
    """The words, or titles, that someone may have meant by a text in lower case.

    First those that begin with the same letter, are about as long and spelt similarly (comparing
    all words would take seconds); else titles that have all its words, in any order; else words
    whose beginning is similar.
    """
    candidates = [word for word in words if word[:1].lower() == lower[:1]]
    as_long = {w.lower(): w for w in reversed(candidates) if abs(len(w) - len(lower)) <= 2}
    if close := difflib.get_close_matches(lower, as_long, n=num):
        return [as_long[key] for key in close]
    parts = set(_TAKEN.findall(lower))
    titles = (word for word in words if " " in word and parts)
    if matching := [t for t in titles if parts <= set(_TAKEN.findall(t.lower()))][:num]:
        return matching
    begins = {word[: len(lower)].lower(): word for word in reversed(candidates)}
    return [begins[key] for key in difflib.get_close_matches(lower, begins, n=num, cutoff=0.75)]


@dataclass(frozen=True)
class VocabularyVectors:
    """An embedding table for a vocabulary.

    Attributes:
        matrix: float32 [vocabulary.size, dim]; row k is the word with id k.
        is_pretrained: Whether row k is a pretrained vector, bool [vocabulary.size]; all others are
            drawn at random, but for padding.
        share: Share of the vocabulary's words with a pretrained vector, 0 to 1.
        share_of_text: The same, each word counted as often as it occurs in the training texts;
            rarer words, which have no row of their own, do not count.
    """

    matrix: np.ndarray
    is_pretrained: np.ndarray
    share: float
    share_of_text: float

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with the table."""
        return fingerprint(self.matrix)


def vocabulary_vectors(
    vectors: WordVectors,
    vocabulary: Vocabulary,
    *,
    seed: int = 0,
    deviation: float = 0.6,
    divisor: float = 3.0,
) -> VocabularyVectors:
    """Makes an embedding table from word vectors, as the published text models did.

    Words of letters, digits and hyphens get their vectors where they have one. All others, and the
    rare words' id, are drawn from N(0, deviation²); the row of padding is zero; then the whole
    table is divided by `divisor`. What is drawn for an id depends on the seed alone.

    Args:
        vectors: The pretrained vectors.
        vocabulary: Which id is which word.
        seed: Seed of what is drawn, 0 or more.
        deviation: Standard deviation of what is drawn, before it is divided.
        divisor: What everything is divided by.

    Raises:
        UserError: The seed is below 0.
    """
    if seed < 0:
        raise UserError(f"seed: {seed} is below 0; use 0 or more")
    generator = np.random.default_rng(seed)
    matrix = generator.normal(0, deviation, (vocabulary.size, vectors.dim)).astype(np.float32)
    matrix[PADDING] = 0
    word_rows = [
        vectors.index.get(word, -1) if _TAKEN.fullmatch(word) else -1 for word in vocabulary.words
    ]
    rows = np.array([-1, *word_rows, -1], np.int64)  # of padding, the words, the rare words' id
    is_pretrained = rows >= 0
    matrix[is_pretrained] = vectors.vectors[rows[is_pretrained]]
    of_words = is_pretrained[1:-1]
    return VocabularyVectors(
        matrix=matrix / np.float32(divisor),
        is_pretrained=is_pretrained,
        share=float(of_words.mean()) if len(of_words) else 0.0,
        share_of_text=float(vocabulary.counts[of_words].sum() / max(vocabulary.counts.sum(), 1)),
    )
