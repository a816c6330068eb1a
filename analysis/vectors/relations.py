"""What word vectors know: relations shown by several examples, and translation between languages.

alignment = align(english, spanish, [("one", "uno"), ("two", "dos"), …])
alignment.translate("three")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysweep.core.errors import UserError
from raysweep.data.words.word_vectors import Neighbours, WordVectors

__all__ = ["Alignment", "align", "relation"]


@dataclass(frozen=True)
class Alignment:
    """A rotation that takes the words of one space to their translations in another.

    Attributes:
        source: Where words come from.
        target: Where their translations are looked for.
        rotation: float32 [dim, dim], orthogonal: a source word's vector times this is near its
            translation's.
        num_pairs: How many pairs of the dictionary were known in both spaces and used.
    """

    source: WordVectors
    target: WordVectors
    rotation: np.ndarray
    num_pairs: int

    def translate(self, word: str, k: int = 1) -> Neighbours:
        """Returns the k likeliest translations, words and cosines, best first.

        Raises:
            UserError: The word is not known, or k is below 1.
        """
        return self.target.nearest(self.source.unit(word) @ self.rotation, k)

    def accuracy(self, pairs: Sequence[tuple[str, str]], k: int = 1) -> float:
        """Returns the share of pairs whose translation is among the first k; unknown ones count."""
        hits = 0
        for word, translation in pairs:
            if word in self.source:
                hits += translation in [known for known, _ in self.translate(word, k)]
        return hits / max(len(pairs), 1)


def align(source: WordVectors, target: WordVectors, pairs: Sequence[tuple[str, str]]) -> Alignment:
    """Learns to translate from a small dictionary, by orthogonal Procrustes (Xing et al., 2015).

    Of all rotations and reflections, this one brings the pairs' vectors, at length 1, closest
    together. Keeping lengths and angles is what makes it hold for words outside the dictionary.

    Args:
        source: Vectors of one language, or of one training run.
        target: Vectors of another, with as many numbers each.
        pairs: Words of the source with their translations; pairs with an unknown word are left
            out. As many as a vector has numbers are needed to learn every direction.

    Raises:
        UserError: The spaces differ in size, or fewer than two pairs are known in both.
    """
    if source.dim != target.dim:
        raise UserError(
            f"vectors of {source.dim} and of {target.dim} numbers cannot be aligned; use vectors "
            "of the same size"
        )
    known = [(a, b) for a, b in pairs if a in source and b in target]
    if len(known) < 2:
        raise UserError(
            f"{len(known)} of {len(pairs)} pairs are known in both languages; give at least 2, "
            f"better {source.dim} or more"
        )
    left = np.stack([source.unit(a) for a, _ in known])  # A, [pairs, dim]
    right = np.stack([target.unit(b) for _, b in known])  # B, [pairs, dim]
    # min ‖A R − B‖ over orthogonal R: AᵀB = U S Vᵀ gives R = U Vᵀ, [dim, dim].
    u, _, vt = np.linalg.svd(left.T.astype(np.float64) @ right)
    return Alignment(source, target, (u @ vt).astype(np.float32), len(known))


def relation(
    vectors: WordVectors, pairs: Sequence[tuple[str, str]], word: str, k: int = 1
) -> Neighbours:
    """Finds what is to `word` as the second word of each pair is to its first.

    The mean of several examples holds what they share. One example also holds what is its own:
    Madrid is to Spain a capital, but a place of football too.

    Args:
        vectors: Where to look.
        pairs: Examples, at least one, e.g. `[("spain", "madrid"), ("france", "paris")]`.
        word: e.g. `italy`.
        k: How many words.

    Returns:
        Words and cosines, best first; none of the given words is among them.

    Raises:
        UserError: There is no pair, a word is not known, or k is below 1.
    """
    if not pairs:
        raise UserError("a relation needs at least one pair of words as an example")
    # The mean of b − a over the pairs, all vectors at length 1, [dim].
    offset = np.mean([vectors.unit(b) - vectors.unit(a) for a, b in pairs], axis=0)
    given = [word, *(member for pair in pairs for member in pair)]
    rows = [vectors.row(member) for member in given]
    return vectors.nearest(vectors.unit(word) + offset, k, leave_out=rows)
