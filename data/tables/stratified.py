"""Splits examples so that every set has the classes in the same shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["check_fractions", "stratified_split"]


def stratified_split(
    labels: np.ndarray, fractions: Sequence[float], seed: int, block: int = 1
) -> list[np.ndarray]:
    """Splits rows at random, class by class; the same arguments always give the same split.

    Each class is divided by the fractions, what rounding leaves going to the largest remainders.
    A class with at least as many rows as there are sets has a row in each of them; a smaller one
    has one in the first sets, so that no set has a class that was never trained on.

    Args:
        labels: Class of each row, int [n].
        fractions: Share of each set, each above 0, sum 1; the first set is for training.
        seed: Seed of the split, 0 or more.
        block: So many neighbouring rows of a class stay together, but for those at a cut; for data
            whose neighbours are related.

    Returns:
        For each fraction the rows of that set, int64, ascending. Together they are all rows.

    Raises:
        UserError: A fraction or the seed is out of range, or a set would be empty.
    """
    check_fractions(fractions)
    if seed < 0:
        raise UserError(f"split_seed: {seed} is below 0; use 0 or more")
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        rows = _shuffled(np.flatnonzero(labels == label), block, generator)
        ends = np.cumsum(_sizes(len(rows), fractions))[:-1]
        for part, chosen in zip(parts, np.split(rows, ends), strict=True):
            part.append(chosen)
    sets = [np.sort(np.concatenate(part)) if part else np.zeros(0, np.int64) for part in parts]
    if not all(map(len, sets)):
        raise UserError(
            f"{len(labels)} rows are too few to split by {tuple(fractions)}: the sets would get "
            f"{', '.join(str(len(rows)) for rows in sets)}; use more rows or other fractions"
        )
    return sets


def _shuffled(rows: np.ndarray, block: int, generator: np.random.Generator) -> np.ndarray:
    if block == 1:
        return generator.permutation(rows)
    blocks = np.split(rows, range(block, len(rows), block))
    return np.concatenate([blocks[k] for k in generator.permutation(len(blocks))])


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises UserError unless all fractions are above 0 and their sum is 1."""
    if not all(0 < fraction < math.inf for fraction in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"fractions: {tuple(fractions)} must be numbers above 0 whose sum is 1, "
            "e.g. (0.8, 0.1, 0.1)"
        )


def _sizes(rows: int, fractions: Sequence[float]) -> list[int]:
    """Divides a class: the largest remainders, then one row for every set that can have one."""
    exact = [rows * fraction for fraction in fractions]
    sizes = [int(size + 1e-9) for size in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (sizes[k] - exact[k], k))
    for k in by_remainder[: rows - sum(sizes)]:
        sizes[k] += 1
    for k in range(min(rows, len(sizes))):
        if not sizes[k]:
            sizes[max(range(len(sizes)), key=lambda j: (sizes[j], j))] -= 1
            sizes[k] += 1
    return sizes
