"""Ratings in memory: compact arrays of who rated what, raw ids and features beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Features", "Interactions", "Ratings", "Split"]


@dataclass(frozen=True)
class Interactions:
    """Ratings as arrays of equal length n; row k says that a user gave an item a rating.

    Attributes:
        user: Index of the user, int32 [n], from 0.
        item: Index of the item, int32 [n], from 0.
        rating: The rating, float32 [n], finite.
        timestamp: When it was given, int64 [n], seconds since 1970, or None.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rating)

    def take(self, rows: np.ndarray) -> Interactions:
        """Returns the given rows (int [m], or bool [n]) in that order."""
        times = None if self.timestamp is None else self.timestamp[rows]
        return Interactions(self.user[rows], self.item[rows], self.rating[rows], times)


@dataclass(frozen=True)
class Features:
    """Numbers known about each user or item.

    Attributes:
        names: One name a column: `genre=Drama`, `year`, `age`, `gender=F`, `occupation=writer`.
        values: float32 [rows, len(names)]: 0 or 1 for the names with `=`, else standardised to
            mean 0 and deviation 1. Rows and numbers that are not known are 0.
    """

    names: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Ratings:
    """A whole ratings dataset; only users and items with a rating are in it.

    Attributes:
        name: For people, e.g. `ml-100k`.
        interactions: Every rating, in the file's order.
        user_ids: Raw id of each user, str [num_users]: sorted by number if all ids are whole
            numbers, else as text.
        item_ids: Raw id of each item, str [num_items], sorted likewise.
        titles: Title of each item, str [num_items], e.g. `Toy Story (1995)`; the raw id where an
            item has none; None where the dataset has no titles.
        genres: Genres of each item, [num_items], or None where the dataset has none.
        user_features: Age, gender and occupation, a row a user; None where none is known.
        item_features: Genres and year, a row an item; None where none is known.
        scale: Lowest and highest rating allowed, the lower one first.
    """

    name: str
    interactions: Interactions
    user_ids: np.ndarray
    item_ids: np.ndarray
    titles: np.ndarray | None
    genres: tuple[tuple[str, ...], ...] | None
    user_features: Features | None
    item_features: Features | None
    scale: tuple[float, float]

    @property
    def num_users(self) -> int:
        """Number of users with a rating."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """Number of items with a rating."""
        return len(self.item_ids)

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with any content but the name."""
        digest = hashlib.blake2b(digest_size=8)
        rows = self.interactions
        features = [f for f in (self.user_features, self.item_features) if f]
        for array in (
            rows.user,
            rows.item,
            rows.rating,
            rows.timestamp,
            *(f.values for f in features),
        ):
            _add(digest, array)
        for texts in (self.user_ids, self.item_ids, self.titles):
            _add(digest, None if texts is None else np.ascontiguousarray(texts))
        names = [f.names for f in features]
        digest.update(repr((self.genres, names, self.scale)).encode())
        return digest.hexdigest()


def _add(digest: hashlib.blake2b, array: np.ndarray | None) -> None:
    """Adds type, shape and bytes, so that no two different arrays look the same."""
    if array is None:
        digest.update(b"none")
        return
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")


@dataclass(frozen=True)
class Split:
    """Three disjoint sets that together hold every rating.

    Attributes:
        train: Training set.
        validation: Validation set.
        test: Test set.
    """

    train: Interactions
    validation: Interactions
    test: Interactions
