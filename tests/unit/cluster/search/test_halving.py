"""Successive halving in trial order: the same decisions whatever arrives first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from raysweep.cluster.search.halving import CONTINUE, STOP, WAIT, SuccessiveHalving, rung_levels
from tests.unit.cluster.search.simulation import MAX_T, Simulator, curves, halving, reference


@pytest.mark.parametrize(
    ("max_t", "grace", "factor", "expected"),
    [
        (9, 1, 3, [1, 3]),
        (10, 1, 3, [1, 3, 9]),
        (81, 3, 3, [3, 9, 27]),
        (16, 2, 2, [2, 4, 8]),
        (10, 1, 2.5, [1, 2, 6]),
        (5, 5, 3, []),
        (1, 1, 3, []),
    ],
)
def test_rungs_are_where_they_should_be(
    max_t: int, grace: int, factor: float, expected: list[int]
) -> None:
    assert rung_levels(max_t, grace, factor) == expected


@pytest.mark.parametrize("factor", [1.5, 1.7, 2, 3, 4])
@pytest.mark.parametrize("grace", [1, 2, 5])
def test_rungs_rise_and_end_before_the_last_epoch(factor: float, grace: int) -> None:
    levels = rung_levels(50, grace, factor)
    assert levels[0] == grace
    assert all(a < b for a, b in itertools.pairwise(levels))
    assert levels[-1] < 50


def test_decisions_worked_out_by_hand() -> None:
    one = SuccessiveHalving([1], 2.0, "min")
    decisions = []
    for index, value in enumerate([5.0, 6.0, 5.2, 5.2, 1.0]):
        one.record(index, 1, value)
        decisions.append(one.decide(index, 1))
    # Medians of those before: none, 5, 5.5, 5.2, 5.2.
    assert decisions == [CONTINUE, STOP, CONTINUE, CONTINUE, CONTINUE]


def test_with_max_the_larger_ones_go_on() -> None:
    one = SuccessiveHalving([1], 2.0, "max")
    for index, value in enumerate([0.5, 0.4, 0.6]):
        one.record(index, 1, value)
    assert [one.decide(i, 1) for i in range(3)] == [CONTINUE, STOP, CONTINUE]


def test_a_trial_waits_for_lower_ones_and_for_no_others() -> None:
    one = SuccessiveHalving([2], 2.0, "min")
    one.record(1, 2, 1.0)
    one.record(3, 2, 1.0)
    assert one.decide(1, 2) == WAIT
    one.record(0, 1, 9.0)
    assert one.decide(1, 2) == WAIT
    one.record(0, 2, 9.0)
    assert one.decide(1, 2) == CONTINUE
    assert one.decide(3, 2) == WAIT
    one.end(2)
    assert one.decide(3, 2) == CONTINUE


def test_between_rungs_nothing_is_decided() -> None:
    one = SuccessiveHalving([2, 6], 3.0, "min")
    one.record(4, 3, 1.0)
    assert one.decide(4, 3) == CONTINUE


def test_a_trial_is_judged_by_its_best_so_far() -> None:
    one = SuccessiveHalving([2], 2.0, "min")
    for epoch, value in [(1, 3.0), (2, 3.0)]:
        one.record(0, epoch, value)
    for epoch, value in [(1, 2.0), (2, 4.0)]:
        one.record(1, epoch, value)
    assert one.decide(1, 2) == CONTINUE


def test_an_epoch_that_is_repeated_changes_nothing() -> None:
    one = SuccessiveHalving([1, 3], 2.0, "min")
    one.record(0, 1, 2.0)
    one.record(1, 1, 2.5)
    one.record(0, 2, 9.0)
    one.record(0, 1, 1.0)
    one.record(0, 1, 99.0)
    one.record(2, 1, 2.1)
    assert one.decide(1, 1) == STOP
    assert one.decide(2, 1) == CONTINUE


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("factor", [2.0, 3.0, 4.0])
def test_the_order_of_arrival_changes_no_decision(mode: str, factor: float) -> None:
    levels = rung_levels(MAX_T, 1, factor)
    for seed in range(12):
        table = curves(24, seed, digits=6 if seed % 2 else 1)
        expected = reference(table, levels, factor, mode)
        for workers in (1, 2, 5, 24):
            rng = np.random.default_rng([seed, workers])
            ended = Simulator(table, halving(factor, mode), workers, rng).run()
            assert ended == expected, (seed, workers)


def test_the_first_trial_always_finishes_however_bad() -> None:
    for seed in range(20):
        table = [[100.0] * MAX_T, *curves(15, seed)]
        ended = Simulator(table, halving(), 4, np.random.default_rng(seed)).run()
        assert ended[0] == MAX_T


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.0])
def test_about_one_in_reduction_factor_goes_on(factor: float) -> None:
    rng = np.random.default_rng(0)
    one = SuccessiveHalving([1], factor, "min")
    passed = 0
    for index in range(1500):
        one.record(index, 1, float(rng.random()))
        passed += one.decide(index, 1) == CONTINUE
    assert passed / 1500 == pytest.approx(1 / factor, abs=0.06)


def test_few_epochs_are_spent_on_bad_trials() -> None:
    table = [[float(i % 50)] * MAX_T for i in range(50, 150)]
    ended = Simulator(table, halving(), 4, np.random.default_rng(0)).run()
    worst = [ended[i] for i in range(1, 100) if table[i][0] > 40]
    assert max(worst[2:]) == 1
