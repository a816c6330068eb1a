"""Non-dominated sorting, crowding distances and exact hypervolumes, in NumPy.

One point dominates another if it is no worse in any objective and better in one. All values here
are losses: small ones are good.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

__all__ = [
    "crowding_distances",
    "hypervolume",
    "hypervolume_curve",
    "non_domination_ranks",
    "reference_box",
]

# What the reference lies beyond the front, as a share of the front's range.
_MARGIN = 0.1


def non_domination_ranks(losses: np.ndarray) -> np.ndarray:
    """The front that each point belongs to: 0 for those that nothing dominates, and so on.

    Points of rank k are dominated by nothing once those of lower ranks are taken away; equal points
    have equal ranks. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II",
    IEEE Transactions on Evolutionary Computation 6(2), 2002. Of two objectives in n log n steps:
    Jensen, "Reducing the Run-Time Complexity of Multiobjective EAs", IEEE Transactions on
    Evolutionary Computation 7(5), 2003.

    Args:
        losses: finite numbers, [n, k].

    Returns:
        int64 [n].
    """
    if losses.shape[1] == 2:
        points, place = np.unique(losses, axis=0, return_inverse=True)
        return _ranks_of_pairs(points)[place.reshape(-1)]
    no_worse = np.ones((len(losses), len(losses)), bool)  # [n, n]: row against column
    for values in losses.T:
        no_worse &= values[:, None] <= values[None]
    dominates = no_worse & ~no_worse.T
    ranks = np.full(len(losses), -1)
    num_above, rank = dominates.sum(axis=0), 0
    while (ranks < 0).any():
        front = (ranks < 0) & (num_above == 0)
        ranks[front] = rank
        num_above = num_above - dominates[front].sum(axis=0)
        rank += 1
    return ranks


def _ranks_of_pairs(points: np.ndarray) -> np.ndarray:
    """Ranks of different points [n, 2] that are sorted by the first objective, then the second.

    A front dominates a later point if its lowest second loss so far is no higher than the point's.
    These lowest losses grow from front to front, so that the point's own front is found by halving.
    """
    lowest: list[float] = []
    ranks = np.empty(len(points), np.int64)
    for i, value in enumerate(points[:, 1].tolist()):
        ranks[i] = rank = bisect_right(lowest, value)
        lowest[rank : rank + 1] = [value]
    return ranks


def crowding_distances(losses: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """How far a point's neighbours in its front are apart; infinite at both ends of a front.

    The sum over the objectives of the gap between both neighbours, as a share of the front's range
    (Deb et al. 2002, section III-B). Equal points share one distance.

    Args:
        losses: finite numbers, [n, k].
        ranks: of `non_domination_ranks`, [n].

    Returns:
        float64 [n].
    """
    distances = np.zeros(len(losses))
    for rank in np.unique(ranks):
        rows = np.flatnonzero(ranks == rank)
        points, place = np.unique(losses[rows], axis=0, return_inverse=True)
        total = np.zeros(len(points))
        for values in points.T:
            order = np.argsort(values, kind="stable")
            ordered = values[order]
            span = ordered[-1] - ordered[0]
            total[order[[0, -1]]] = np.inf
            if len(points) > 2 and span > 0:
                total[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
        distances[rows] = total[place.reshape(-1)]
    return distances


def hypervolume(losses: np.ndarray, reference: np.ndarray) -> float:
    """The volume that the points dominate, up to a reference point; exact.

    By slices along the last objective, each one dimension lower: While et al., "A Faster Algorithm
    for Calculating Hypervolume", IEEE Transactions on Evolutionary Computation 10(1), 2006.

    Args:
        losses: [n, k]; points that are not better than the reference everywhere add nothing.
        reference: the worst that counts, [k].
    """
    inside = losses[(losses < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    return _volume(inside, reference)


def _volume(points: np.ndarray, reference: np.ndarray) -> float:
    points = np.unique(points, axis=0)
    if points.shape[1] == 1:
        return float(reference[0] - points[0, 0])
    if points.shape[1] == 2:
        lowest = np.minimum.accumulate(points[:, 1])  # sorted by the first objective
        widths = np.diff(np.append(points[:, 0], reference[0]))
        return float(widths @ (reference[1] - lowest))
    points = points[np.argsort(points[:, -1], kind="stable")]
    depths = np.diff(np.append(points[:, -1], reference[-1]))
    return float(
        sum(
            depth * _volume(points[: i + 1, :-1], reference[:-1])
            for i, depth in enumerate(depths)
            if depth > 0
        )
    )


def reference_box(losses: np.ndarray, extra: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Both corners of the box that a hypervolume is a share of: the ideal and the reference.

    The ideal has the best value of each objective. The reference has the worst one on the front (or
    of the extra points), moved out by a tenth of the range, so that the ends of the front count
    too: Ishibuchi et al., "How to Specify a Reference Point in Hypervolume Calculation for Fair
    Performance Comparison", Evolutionary Computation 26(3), 2018.

    Args:
        losses: at least one point, [n, k].
        extra: further points that are to lie inside, [k] each: the default's.

    Returns:
        float64 [2, k]; the second row is greater than the first one everywhere.
    """
    front = losses[non_domination_ranks(losses) == 0]
    ends = np.concatenate([front, *(point[None] for point in extra)])
    ideal, worst = ends.min(axis=0), ends.max(axis=0)
    span = worst - ideal
    scale = np.where(ideal == 0, 1.0, np.abs(ideal))
    return np.stack([ideal, worst + np.where(span > 0, _MARGIN * span, _MARGIN * scale)])


def hypervolume_curve(losses: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The share of a box that the first 1, 2, … points dominate.

    Args:
        losses: in the order that they came, [n, k]; NaN for what has no result.
        box: of `reference_box`, [2, k].

    Returns:
        float64 [n], from 0 to 1, never falling.
    """
    ideal, reference = box
    scaled = np.where(np.isfinite(losses), (losses - ideal) / (reference - ideal), np.inf)
    ones, shares = np.ones(losses.shape[1]), np.zeros(len(losses))
    front = np.empty((0, losses.shape[1]))
    for i, point in enumerate(scaled):
        if (point < 1).all() and not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(front >= point).all(axis=1)], point])
            shares[i] = hypervolume(front, ones)
        else:
            shares[i] = shares[i - 1] if i else 0.0
    return shares
