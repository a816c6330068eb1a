"""What the searcher that reads curves decides, on made-up curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from raysweep.cluster.search.curves.curve import pause_levels, watched_epochs
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.search import CurveSearch
from raysweep.search_spaces.space import Trial

MAX_T = 27


def suggest(trial: Trial) -> dict[str, Any]:
    return {name: trial.suggest_float(name, 0, 1) for name in ("x", "y", "z")}


def curve(fields: dict[str, Any], epoch: int) -> float:
    """Climbs to a height that is best at (0.3, 0.7, 0.2), from below."""
    x, y, z = fields["x"] - 0.3, fields["y"] - 0.7, fields["z"] - 0.2
    return (1 - x * x - y * y - 0.3 * z * z) * (1 - 0.9**epoch)


def run(
    search: CurveSearch,
    budget: int,
    value: Callable[[dict[str, Any], int], float] = curve,
) -> tuple[list[dict[str, Any]], list[Any], float]:
    """All configurations, all decisions and the best value, with one worker."""
    fields: list[dict[str, Any]] = []
    decisions: list[Any] = []
    epochs: dict[int, int] = {}
    best = -math.inf
    while sum(epochs.values()) < budget and (decision := search.decide()) is not None:
        decisions.append(decision)
        if decision.trial is None:
            assert decision.proposal is not None
            trial = len(fields)
            fields.append(decision.proposal.fields)
            target = search.start(trial, decision.proposal.params, decision.theta)
        else:
            trial = decision.trial
            target = search.resume(trial, decision.theta)
        assert target == decision.target
        for epoch in range(epochs.get(trial, 0) + 1, target + 1):
            number = value(fields[trial], epoch)
            search.report(trial, epoch, number)
            best = max(best, number) if math.isfinite(number) else best
        epochs[trial] = target
    return fields, decisions, best


def build(seed: int = 0, mode: str = "max", space: Any = suggest, **more: Any) -> CurveSearch:
    return CurveSearch(Encoder(space, seed), seed, mode, MAX_T, **more)


def test_trials_pause_where_it_says() -> None:
    assert pause_levels(52) == [2, 6, 18, 52]
    assert pause_levels(50) == [2, 6, 17, 50]
    assert pause_levels(12) == [2, 5, 12]
    assert pause_levels(4) == [1, 2, 4]
    assert pause_levels(2) == [1, 2]
    assert pause_levels(1) == [1]


def test_the_first_epochs_count_and_ever_fewer_of_the_later_ones() -> None:
    epochs = watched_epochs(52)
    assert epochs[:4] == [1, 2, 3, 4]
    assert set(pause_levels(52)) < set(epochs)
    assert len(epochs) < 16
    assert watched_epochs(1) == [1]
    one = build()
    one.start(0, {"x": 0.5, "y": 0.5, "z": 0.5}, target=MAX_T)
    for epoch in range(1, MAX_T + 1):
        one.report(0, epoch, curve({"x": 0.5, "y": 0.5, "z": 0.5}, epoch))
    assert one.num_results() == len(watched_epochs(MAX_T))


def test_it_finds_more_than_chance_does() -> None:
    found = [run(build(seed), 8 * MAX_T)[2] for seed in range(4)]
    rng = np.random.default_rng(0)
    chance = []
    for _ in range(4):
        points = [dict(zip("xyz", rng.random(3), strict=True)) for _ in range(8)]
        chance.append(max(curve(p, MAX_T) for p in points))
    best = curve({"x": 0.3, "y": 0.7, "z": 0.2}, MAX_T)
    assert np.mean(best - np.array(found)) < 0.2 * np.mean(best - np.array(chance))


def test_equal_seeds_decide_alike_and_signs_do_not_matter() -> None:
    first = run(build(1), 4 * MAX_T)[0]
    again = run(build(1), 4 * MAX_T)[0]
    other = run(build(2), 4 * MAX_T)[0]
    low = run(build(1, "min"), 4 * MAX_T, lambda f, e: -curve(f, e))[0]
    assert first == again == low
    assert first != other


def test_some_trials_are_resumed_and_most_are_not() -> None:
    fields, decisions, _ = run(build(), 10 * MAX_T)
    kinds = [d.why for d in decisions]
    assert {"spread", "random", "improve", "resume"} == set(kinds)
    whole = {d.trial for d in decisions if d.target == MAX_T}
    assert 0 < len(whole) < len(fields) / 3


def test_a_trial_that_diverged_is_not_resumed() -> None:
    def value(fields: dict[str, Any], epoch: int) -> float:
        return math.nan if fields["x"] > 0.5 else curve(fields, epoch)

    fields, decisions, _ = run(build(), 6 * MAX_T, value)
    assert any(f["x"] > 0.5 for f in fields)
    assert all(fields[d.trial]["x"] <= 0.5 for d in decisions if d.trial is not None)


def test_values_that_are_all_alike_or_all_missing_do_no_harm() -> None:
    assert len(run(build(), 3 * MAX_T, lambda f, e: 0.5)[0]) > 3
    assert len(run(build(), 3 * MAX_T, lambda f, e: math.nan)[0]) > 3


def test_a_space_with_few_points_is_used_up() -> None:
    def few(trial: Trial) -> dict[str, Any]:
        return {"n": trial.suggest_int("n", 1, 3), "c": trial.suggest_categorical("c", ["a", "b"])}

    fields, decisions, _ = run(build(space=few), 1000, lambda f, e: f["n"] * (1 - 0.9**e))
    assert sorted((f["n"], f["c"]) for f in fields) == [(n, c) for n in (1, 2, 3) for c in "ab"]
    assert sum(d.target == MAX_T for d in decisions) == 6, "in the end everything is trained whole"


def test_what_is_not_allowed_is_not_proposed() -> None:
    search = build(allowed=lambda fields: fields["x"] < 0.5)
    fields, _, _ = run(search, 4 * MAX_T)
    assert max(f["x"] for f in fields) < 0.5


def test_no_further_trial_where_none_may_start() -> None:
    search = build()
    run(search, 2 * MAX_T)
    decision = search.decide(may_start=False)
    assert decision is not None
    assert decision.why == "resume"


@pytest.mark.parametrize("count", [400])
def test_many_trials_are_decided_upon_by_the_most_telling_rows(count: int) -> None:
    search = build()
    rng = np.random.default_rng(0)
    for trial in range(count):
        params = dict(zip("xyz", map(float, rng.random(3)), strict=True))
        search.start(trial, params)
        search.report(trial, 1, curve(params, 1))
    decision = search.decide()
    assert decision is not None
    assert decision.rows == count
