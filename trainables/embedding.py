"""Vectors that a model learned, and what to call each: words, characters, films. Plain PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

__all__ = ["Embedding"]


@dataclass(frozen=True)
class Embedding:
    """Things with a learned vector each, the most important ones first.

    Attributes:
        vectors: float32 [n, dim], a copy of the model's.
        columns: texts by what they are, n each, e.g. `word` and `count`. The first column names
            the things and has no text twice.
        pictures: where each thing's picture was, n paths or URIs; empty where things have none.
    """

    vectors: np.ndarray
    columns: Mapping[str, Sequence[str]]
    pictures: Sequence[str] = ()

    @classmethod
    def ranked(
        cls, vectors: Tensor, counts: np.ndarray, columns: Mapping[str, Sequence[object]]
    ) -> Embedding:
        """Sorts things by how often training met them, equals staying in their order.

        What training never met is left out: its vector is as it was drawn and says nothing.

        Args:
            vectors: float [m, dim], on any device.
            counts: how often training met each, int [m].
            columns: as in the attributes, m each, of anything that has a text.
        """
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        texts = {name: [str(column[k]) for k in order] for name, column in columns.items()}
        return cls(vectors.detach().float().cpu().numpy()[order], texts)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def labels(self) -> Sequence[str]:
        """The first column."""
        return next(iter(self.columns.values()))

    def first(self, num: int) -> Embedding:
        """The most important `num`, or all if there are fewer."""
        columns = {name: column[:num] for name, column in self.columns.items()}
        return Embedding(self.vectors[:num], columns, self.pictures[:num])
