from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.search_quality.clock import seed_of, simulate
from benchmarks.search_quality.methods.base import Work
from benchmarks.search_quality.space import Parameter, TaskSpace
from benchmarks.search_quality.tasks import Curve, Task


class Planted(Task):
    """Values are params["x"] + epoch, or not finite where x is negative; an epoch takes x s."""

    def __init__(self, max_t: int = 4) -> None:
        self.name, self.max_t, self.low, self.high = "planted", max_t, 0.0, 10.0
        self.space = TaskSpace([Parameter("x", -1.0, 10.0)])

    def trainer(self) -> Any:
        def train(params: Mapping[str, Any]) -> Curve:
            x = params["x"]
            epochs = np.arange(1.0, self.max_t + 1)
            values = x + epochs if x >= 0 else np.full(self.max_t, math.nan)
            return Curve(dict(params), values, np.full(self.max_t, max(x, 1.0)))

        return train


class Script:
    """Hands out given work; writes down all that it is told."""

    def __init__(self, *works: Work | None) -> None:
        self._works = list(works)
        self.heard: list[tuple[Any, ...]] = []

    def next(self) -> Work | None:
        self.heard.append(("next",))
        return self._works.pop(0) if self._works else None

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        self.heard.append(("started", trial, params["x"]))

    def report(self, trial: int, epoch: int, value: float) -> None:
        self.heard.append(("report", trial, epoch, value))

    def arrived(self, trial: int, epoch: int) -> None:
        self.heard.append(("arrived", trial, epoch))

    def failed(self, trial: int, epoch: int) -> None:
        self.heard.append(("failed", trial, epoch))

    def close(self) -> None:
        pass

    def told(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.heard if each[0] in kinds]


def new(trial: int, target: int, x: float) -> Work:
    return Work(trial, target, {"x": x})


def test_four_workers_report_in_the_order_of_time_and_then_ask() -> None:
    script = Script(*(new(k, 1 + k, 0.5 * k) for k in range(4)), new(4, 1, 5.0), Work(0, 2))
    outcome = simulate(Planted(), script, num_epochs=12, workers=4)
    epochs = [(trial, epoch) for trial, epoch, _ in script.told("report")]
    # Four at a time; trial 4 takes the place of 0, then 0 goes on in that of 4 or 1.
    first, second, third = epochs[:4], epochs[4:8], epochs[8:11]
    assert first == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert sorted(second) == [(1, 2), (2, 2), (3, 2), (4, 1)]
    assert sorted(third) == [(0, 2), (2, 3), (3, 3)]
    assert set(script.told("arrived")) == {(0, 1), (1, 2), (4, 1), (0, 2), (2, 3), (3, 4)}
    assert (outcome.num_started, outcome.num_resumed) == (5, 1)
    # All four reports of a moment come before anyone asks again.
    kinds = [each[0] for each in script.heard]
    at = kinds.index("report")
    assert [k for k in kinds[at : at + 6] if k != "arrived"] == ["report"] * 4 + ["next"]


def test_the_budget_is_the_epochs_of_all_workers_together() -> None:
    for workers in (1, 4):
        script = Script(*(new(k, 4, 0.0) for k in range(9)))
        outcome = simulate(Planted(), script, num_epochs=10, workers=workers)
        assert len(outcome.regret) == 10
        assert len(script.told("report")) == 10


def test_the_regret_is_that_of_the_best_value_so_far() -> None:
    script = Script(new(0, 2, 3.0), new(1, 1, 0.0), Work(0, 4))
    outcome = simulate(Planted(), script, num_epochs=7)
    # Values 4, 5, 1, 6, 7 out of 10, then nothing more to do.
    assert outcome.regret == pytest.approx([0.6, 0.5, 0.5, 0.4, 0.3, 0.3, 0.3])


def test_recorded_seconds_set_the_order() -> None:
    works = (new(0, 2, 3.0), new(1, 2, 1.0))
    unit, recorded = Script(*works), Script(*works)
    simulate(Planted(), unit, num_epochs=4, workers=2)
    simulate(Planted(), recorded, num_epochs=4, workers=2, recorded_seconds=True)
    assert [t for t, *_ in unit.told("report")] == [0, 1, 0, 1]
    assert [t for t, *_ in recorded.told("report")] == [1, 1, 0, 0]


def test_a_trial_that_diverges_is_over_and_its_worker_free() -> None:
    script = Script(new(0, 4, -1.0), new(1, 1, 1.0))
    outcome = simulate(Planted(), script, num_epochs=2)
    assert script.told("failed") == [(0, 1)]
    assert script.told("report") == [(1, 1, 2.0)]
    assert outcome.regret == pytest.approx([1.0, 0.8])


def test_a_worker_without_work_waits_for_a_report() -> None:
    script = Script(new(0, 1, 0.0), None, new(1, 1, 0.0), new(2, 1, 0.0))
    simulate(Planted(), script, num_epochs=3, workers=2)
    assert [t for t, *_ in script.told("report")] == [0, 1, 2]


@pytest.mark.parametrize("works", [(new(0, 2, 0.0), Work(0, 3)), (new(0, 5, 0.0),)])
def test_work_that_cannot_be_is_an_error(works: tuple[Work, ...]) -> None:
    with pytest.raises(ValueError, match="trial=0"):
        simulate(Planted(), Script(*works), num_epochs=9, workers=2)


def test_a_noisy_search_is_judged_by_the_true_value_of_what_looked_best() -> None:
    works = [new(k, 1, x) for k, x in enumerate([3.0, 4.0, 5.0, 6.0] * 5)]
    script = Script(*works)
    outcome = simulate(Planted(), script, num_epochs=20, noise=0.2, seed=1)
    seen = np.array([value for *_, value in script.told("report")])
    true = np.array([work.params["x"] + 1 for work in works if work.params])
    assert np.std(seen - true) == pytest.approx(2.0, rel=0.5)
    looked_best = [int(np.argmax(seen[: k + 1])) for k in range(20)]
    assert outcome.regret == pytest.approx((10 - true[looked_best]) / 10)
    again = Script(*works)
    simulate(Planted(), again, num_epochs=20, noise=0.2, seed=1)
    assert again.heard == script.heard


def test_every_task_and_seed_has_its_own_draws() -> None:
    assert len({seed_of(task, seed) for task in ("a", "b") for seed in range(50)}) == 100
