"""Splits ratings into train, validation and test sets."""

from __future__ import annotations

from typing import Literal

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.data.ratings.ratings import Ratings, Split

__all__ = ["split"]


def split(
    ratings: Ratings,
    *,
    by: Literal["random", "time"] | str = "random",
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Split:
    """Splits the ratings; the same arguments always give the same split.

    Args:
        ratings: What to split.
        by: `random`, or `time`: the earliest ratings train, the latest test (ratings of the same
            second keep the file's order). `time` ignores the seed.
        seed: Seed of the random split, 0 or more.
        fractions: Shares of train, validation and test; above 0, sum 1.

    Returns:
        The three sets, each in the file's order (by time: ordered by time).

    Raises:
        UserError: An argument is out of range, `by` is `time` and there are no timestamps, or there
            are too few ratings to give each set one.
    """
    sizes = _sizes(len(ratings.interactions), fractions)
    if by == "random":
        if seed < 0:
            raise UserError(f"seed: {seed} is below 0; use 0 or more")
        order = np.random.default_rng(seed).permutation(len(ratings.interactions))
    elif by == "time":
        if ratings.interactions.timestamp is None:
            raise UserError(f"{ratings.name} has no timestamps to split by; use by='random'")
        order = np.argsort(ratings.interactions.timestamp, kind="stable")
    else:
        raise UserError(f"by: no split '{by}'{nearest(by, ('random', 'time'))}")
    parts = np.split(order, np.cumsum(sizes)[:2])
    if by == "random":
        parts = [np.sort(part) for part in parts]
    return Split(*(ratings.interactions.take(part) for part in parts))


def _sizes(rows: int, fractions: tuple[float, float, float]) -> tuple[int, int, int]:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"fractions: {fractions} must be three numbers above 0 whose sum is 1, "
            "e.g. (0.8, 0.1, 0.1)"
        )
    validation, test = (round(rows * fraction) for fraction in fractions[1:])
    sizes = (rows - validation - test, validation, test)
    if min(sizes) < 1:
        raise UserError(
            f"{rows} ratings are too few to split by {fractions}: the sets would get "
            f"{sizes[0]}, {sizes[1]} and {sizes[2]}; use more ratings or other fractions"
        )
    return sizes
