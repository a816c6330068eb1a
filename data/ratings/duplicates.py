"""Several ratings of one item by one user: refuses them, or keeps one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.data.ratings.ratings import Interactions

__all__ = ["POLICIES", "resolve_duplicates"]

POLICIES = ("error", "first", "last", "mean")


def resolve_duplicates(
    rows: Interactions, policy: str, describe: Callable[[int, int], str]
) -> Interactions:
    """Makes every pair of user and item unique.

    Args:
        rows: The ratings, in the file's order.
        policy: `error` refuses duplicates; `first` and `last` keep that row of the file; `mean`
            keeps the last row with the mean of the ratings.
        describe: Returns, for messages, where two given rows are and what they hold.

    Returns:
        `rows` itself where no pair is there twice, else the kept rows in the file's order.

    Raises:
        UserError: The policy is unknown, or is `error` and a pair is there twice.
    """
    if policy not in POLICIES:
        raise UserError(f"duplicates: no policy '{policy}'{nearest(policy, POLICIES)}")
    width = int(rows.item.max()) + 1
    pair = rows.user.astype(np.int64) * width + rows.item
    ordered = np.sort(pair)
    if not (ordered[1:] == ordered[:-1]).any():
        return rows
    del ordered
    order = np.argsort(pair, kind="stable")  # pairs together, each in the file's order
    ordered = pair[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    del ordered
    if policy == "error":
        second = int(order[~new].min())
        first = int(np.flatnonzero(pair == pair[second])[0])
        raise UserError(
            f"{describe(first, second)}; delete one, or add --data duplicates=first (or last, mean)"
        )
    del pair
    return _keep_one(rows, order, np.flatnonzero(new), policy)


def _keep_one(
    rows: Interactions, order: np.ndarray, starts: np.ndarray, policy: str
) -> Interactions:
    """Keeps the first or the last row of each group; `starts` are where groups begin in `order`."""
    ends = np.append(starts[1:], len(order))
    kept = order[starts] if policy == "first" else order[ends - 1]
    if policy == "mean":
        sums = np.add.reduceat(rows.rating[order], starts, dtype=np.float64)
        rating = rows.rating.copy()
        rating[kept] = sums / (ends - starts)
        rows = replace(rows, rating=rating)
    mask = np.zeros(len(rows), bool)
    mask[kept] = True
    return rows.take(mask)
