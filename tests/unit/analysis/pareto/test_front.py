"""Ranks against their definition, hypervolumes against counted points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from raysweep.analysis.pareto.front import (
    crowding_distances,
    hypervolume,
    hypervolume_curve,
    non_domination_ranks,
    reference_box,
)


def points(seed: int, num: int, dimensions: int, steps: int = 8) -> np.ndarray:
    """Points on a coarse grid: many are equal in one coordinate, some in all."""
    return np.random.default_rng(seed).integers(0, steps, (num, dimensions)).astype(float)


def ranks_by_definition(losses: np.ndarray) -> list[int]:
    """Peels off, one after another, the points that no other one left dominates."""
    left, ranks, rank = set(range(len(losses))), [0] * len(losses), 0
    while left:
        front = {
            i
            for i in left
            if not any(
                (losses[j] <= losses[i]).all() and (losses[j] < losses[i]).any() for j in left
            )
        }
        for i in front:
            ranks[i] = rank
        left, rank = left - front, rank + 1
    return ranks


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_the_definition(seed: int, dimensions: int) -> None:
    losses = points(seed, 40, dimensions)
    assert non_domination_ranks(losses).tolist() == ranks_by_definition(losses)


def test_distances_worked_out_by_hand() -> None:
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [3.0, 1.0], [4.0, 0.0], [1.0, 2.0], [9.0, 9.0]])
    ranks = non_domination_ranks(losses)
    assert ranks.tolist() == [0, 0, 0, 0, 0, 1]
    distances = crowding_distances(losses, ranks)
    # Of 1, 2: (3 - 0) / 4 + (4 - 1) / 4; of 3, 1: (4 - 1) / 4 + (2 - 0) / 4.
    assert distances.tolist() == [np.inf, 1.5, 1.25, np.inf, 1.5, np.inf]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_hypervolume_is_the_number_of_unit_cells_that_are_dominated(
    seed: int, dimensions: int
) -> None:
    losses, steps = points(seed, 12, dimensions), 8
    cells = np.array(list(itertools.product(range(steps), repeat=dimensions)))
    # A cell from c to c + 1 is dominated by the points at or below c.
    dominated = (losses[None] <= cells[:, None]).all(axis=-1).any(axis=-1)
    assert hypervolume(losses, np.full(dimensions, float(steps))) == dominated.sum()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_hypervolume_is_the_share_of_random_points_that_are_dominated(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    losses, reference = rng.random((15, dimensions)), np.full(dimensions, 0.9)
    drawn = rng.random((100_000, dimensions)) * 0.9
    share = (losses[None] <= drawn[:, None]).all(axis=-1).any(axis=-1).mean()
    error = 4.0 * np.sqrt(share * (1.0 - share) / len(drawn)) * 0.9**dimensions
    assert abs(hypervolume(losses, reference) - share * 0.9**dimensions) < error


def test_what_is_beyond_the_reference_adds_nothing() -> None:
    reference = np.array([1.0, 1.0])
    assert hypervolume(np.array([[0.5, 1.0], [2.0, 0.0]]), reference) == 0.0
    assert hypervolume(np.array([[0.5, 0.5], [2.0, 0.0]]), reference) == 0.25


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_curve_is_the_hypervolume_of_what_came_so_far(dimensions: int) -> None:
    losses = points(7, 30, dimensions)
    losses[[0, 9]] = np.nan
    box = reference_box(losses[np.isfinite(losses).all(axis=1)])
    curve = hypervolume_curve(losses, box)
    assert (np.diff(curve) >= 0).all()
    assert curve[0] == 0.0
    for num in (1, 5, 10, 30):
        known = losses[:num][np.isfinite(losses[:num]).all(axis=1)]
        assert curve[num - 1] == pytest.approx(
            hypervolume(known, box[1]) / np.prod(box[1] - box[0])
        )


def test_the_reference_lies_a_tenth_beyond_the_front_and_no_outlier_moves_it() -> None:
    front = np.array([[0.0, 10.0], [5.0, 5.0], [10.0, 0.0]])
    assert reference_box(front)[1].tolist() == [11.0, 11.0]
    assert reference_box(np.vstack([front, [1e9, 1e9]]))[1].tolist() == [11.0, 11.0]
    assert reference_box(front, [np.array([20.0, 0.0])])[1].tolist() == [22.0, 11.0]
    single = reference_box(np.array([[3.0, 0.0]]))
    assert (single[1] > single[0]).all()
