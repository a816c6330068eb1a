"""Successive halving in trial order: the same decisions whatever arrives first."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.runs.request import SCHEDULERS
from raysweep.cluster.search.schedulers import (
    CONTINUE,
    STOP,
    WAIT,
    OrderedASHA,
    SuccessiveHalving,
    build_scheduler,
    rung_levels,
)
from raysweep.core.storage import Storage
from raysweep.search_spaces import get_space
from raysweep.trainables import get_learner
from raysweep.trainables.trial_files import INDEX, member_configs, pack_config

MAX_T = 9
Curves = list[list[float]]


def curves(num: int, seed: int, digits: int = 6) -> Curves:
    """Falling validation errors with noise; a curve may end early, which is a failure there."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        level, fall = rng.uniform(0.5, 2.0), rng.uniform(0.1, 1.0)
        length = MAX_T if rng.random() < 0.9 else int(rng.integers(0, MAX_T))
        steps = np.arange(1, length + 1)
        values = level + fall / steps + rng.normal(size=length) * 0.1
        found.append([round(float(v), digits) for v in values])
    return found


def reference(table: Curves, levels: list[int], factor: float, mode: str) -> dict[int, int]:
    """The last epoch of each trial if trials run one after the other."""
    sign = 1.0 if mode == "min" else -1.0
    reached: dict[int, list[float]] = {level: [] for level in levels}
    last = {}
    for index, values in enumerate(table):
        last[index] = len(values)
        for level in levels:
            if len(values) < level:
                break
            mine = min(sign * v for v in values[:level])
            earlier = list(reached[level])
            reached[level].append(mine)
            if len(earlier) + 1 >= factor and mine > np.quantile(earlier, 1 / factor):
                last[index] = level
                break
    return last


@dataclass
class Simulator:
    """W workers on N trials: who is next is up to chance; who must wait gives up its worker."""

    table: Curves
    halving: SuccessiveHalving
    workers: int
    rng: np.random.Generator
    epoch: dict[int, int] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = list(range(len(self.table)))

    def run(self, max_events: int | None = None) -> dict[int, int]:
        while max_events is None or max_events > 0:
            self.fill()
            if not self.running:
                assert not self.waiting, f"deadlock: {self.waiting} wait and nothing runs"
                assert not self.queue
                break
            self.advance(self.pick(self.running))
            max_events = None if max_events is None else max_events - 1
        return self.ended

    def pick(self, among: list[int]) -> int:
        return among[int(self.rng.integers(len(among)))]

    def fill(self) -> None:
        while len(self.running) < self.workers:
            ready = [i for i in self.waiting if self.decision(i) != WAIT]
            if ready:
                index = self.pick(ready)
                self.waiting.remove(index)
                self.settle(index, self.decision(index))
            elif self.queue:
                index = self.queue.pop(0)
                self.epoch.setdefault(index, 0)
                self.running.append(index)
            else:
                return

    def decision(self, index: int) -> str:
        return self.halving.decide(index, self.epoch[index])

    def settle(self, index: int, decision: str) -> None:
        if decision == STOP:
            self.end(index)
        elif decision == WAIT:
            self.waiting.append(index)
        else:
            self.running.append(index)

    def end(self, index: int) -> None:
        self.halving.end(index)
        self.ended[index] = self.epoch[index]

    def advance(self, index: int) -> None:
        self.running.remove(index)
        values = self.table[index]
        if self.epoch[index] >= len(values):
            self.end(index)
            return
        self.epoch[index] += 1
        self.halving.record(index, self.epoch[index], values[self.epoch[index] - 1])
        if self.epoch[index] == MAX_T:
            self.end(index)
        else:
            self.settle(index, self.decision(index))


def halving(factor: float = 3.0, mode: str = "min") -> SuccessiveHalving:
    return SuccessiveHalving(rung_levels(MAX_T, 1, factor), factor, mode)


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


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Storage(tmp_path), "val", "min")


def write_down(ledger: Ledger, simulator: Simulator) -> Ledger:
    """The ledger as it stands when everything breaks off; reopened."""
    for index, epoch in sorted(simulator.epoch.items()):
        ledger.add({}, {"x": index})
        for e in range(1, epoch + 1):
            ledger.result(index, {"epoch": e, "val": simulator.table[index][e - 1]})
        if index in simulator.ended:
            full = epoch == MAX_T
            failed = epoch == len(simulator.table[index])
            ledger.end(index, FINISHED if full else FAILED if failed else STOPPED)
    return Ledger(ledger._storage, ledger.metric, ledger.mode)


@pytest.mark.parametrize("seed", range(8))
def test_after_a_crash_at_any_moment_the_outcome_is_the_same(tmp_path: Path, seed: int) -> None:
    table = curves(16, seed)
    expected = reference(table, rung_levels(MAX_T, 1, 3.0), 3.0, "min")
    for events in (3, 12, 25, 40):
        rng = np.random.default_rng([seed, events])
        first = Simulator(table, halving(), 4, rng)
        first.run(events)
        ledger = Ledger(Storage(tmp_path / str(events)), "val", "min")
        again = write_down(ledger, first)
        replayed = halving()
        OrderedASHA(again, replayed)
        second = Simulator(table, replayed, 3, rng)
        second.ended = dict(first.ended)
        second.queue = [i for i in range(len(table)) if i not in first.ended]
        # A trainable that starts again repeats its last result once, and then goes on.
        second.epoch = {t.index: max(0, t.epoch - 1) for t in again.unfinished()}
        assert second.run() == expected, events


@dataclass(eq=False)
class FakeTrial:
    config: dict[str, Any]
    status: str = "PENDING"
    epoch: int = 0
    PENDING: str = "PENDING"


class FakeController:
    """As much of Ray Tune's controller as the scheduler uses, with W places."""

    def __init__(self, scheduler: TrialScheduler, table: Curves, workers: int, seed: int) -> None:
        self.scheduler, self.table, self.workers = scheduler, table, workers
        self.rng = np.random.default_rng(seed)
        self.trials = [FakeTrial({INDEX: i}) for i in range(len(table))]
        self.rng.shuffle(self.trials)  # type: ignore[arg-type]
        for trial in self.trials:
            scheduler.on_trial_add(self, trial)
        self.ended: dict[int, int] = {}

    def get_live_trials(self) -> list[FakeTrial]:
        return [t for t in self.trials if t.status != "TERMINATED"]

    def pause_trial(self, trial: FakeTrial, should_checkpoint: bool = True) -> None:
        assert not should_checkpoint
        trial.status = "PAUSED"

    def stop_trial(self, trial: FakeTrial, **_: Any) -> None:
        if trial.status == "PAUSED":
            self.scheduler.on_trial_remove(self, trial)
        self._end(trial)

    def _end(self, trial: FakeTrial) -> None:
        trial.status = "TERMINATED"
        self.ended[trial.config[INDEX]] = trial.epoch

    def running(self) -> list[FakeTrial]:
        return [t for t in self.trials if t.status == "RUNNING"]

    def run(self) -> dict[int, int]:
        while True:
            while len(self.running()) < self.workers:
                trial = self.scheduler.choose_trial_to_run(self)
                if trial is None:
                    break
                assert trial.status in ("PENDING", "PAUSED")
                trial.status = "RUNNING"
            running = self.running()
            if not running:
                assert not self.get_live_trials(), "deadlock"
                return self.ended
            self._advance(running[int(self.rng.integers(len(running)))])

    def _advance(self, trial: FakeTrial) -> None:
        values = self.table[trial.config[INDEX]]
        if trial.epoch >= len(values):
            self.scheduler.on_trial_complete(self, trial, {"failure": "x", "done": True})
            self._end(trial)
            return
        trial.epoch += 1
        result = {"epoch": trial.epoch, "val": values[trial.epoch - 1]}
        if trial.epoch == MAX_T:
            self.scheduler.on_trial_complete(self, trial, result)
            self._end(trial)
            return
        decision = self.scheduler.on_trial_result(self, trial, result)
        if decision == TrialScheduler.STOP:
            self.scheduler.on_trial_complete(self, trial, result)
            self._end(trial)


@pytest.mark.parametrize("seed", range(5))
def test_under_a_controller_the_outcome_is_that_of_the_reference(ledger: Ledger, seed: int) -> None:
    table = curves(20, seed)
    expected = reference(table, rung_levels(MAX_T, 1, 3.0), 3.0, "min")
    for workers in (1, 3, 20):
        scheduler = OrderedASHA(ledger, halving())
        assert FakeController(scheduler, table, workers, seed).run() == expected, workers


def test_nobody_waits_for_a_trial_that_died(ledger: Ledger) -> None:
    for index in range(2):
        ledger.add({}, {"x": index})
    scheduler = OrderedASHA(ledger, halving(factor=2.0))
    controller = FakeController(scheduler, [[1.0], [1.0]], 2, 0)
    zero, one = sorted(controller.trials, key=lambda t: t.config[INDEX])
    one.status = "RUNNING"
    decision = scheduler.on_trial_result(controller, one, {"epoch": 1, "val": 1.0})
    assert (decision, one.status) == (TrialScheduler.NOOP, "PAUSED")
    assert scheduler.choose_trial_to_run(controller) is zero
    zero.status = "ERROR"
    scheduler.on_trial_error(controller, zero)
    assert scheduler.choose_trial_to_run(controller) is None, "it may be suggested again"
    ledger.end(0, FAILED)
    assert scheduler.choose_trial_to_run(controller) is one


def test_a_trial_that_died_and_starts_again_is_waited_for(ledger: Ledger) -> None:
    scheduler = OrderedASHA(ledger, halving(factor=2.0))
    controller = FakeController(scheduler, [[1.0], [1.0]], 2, 0)
    zero, one = sorted(controller.trials, key=lambda t: t.config[INDEX])
    zero.status = one.status = "RUNNING"
    scheduler.on_trial_error(controller, zero)
    scheduler.on_trial_add(controller, zero)
    decision = scheduler.on_trial_result(controller, one, {"epoch": 1, "val": 2.0})
    assert (decision, one.status) == (TrialScheduler.NOOP, "PAUSED")
    scheduler.on_trial_result(controller, zero, {"epoch": 1, "val": 1.0})
    assert scheduler.choose_trial_to_run(controller) is None
    assert one.status == "TERMINATED"


def test_results_that_a_dead_driver_did_not_write_down_count(ledger: Ledger) -> None:
    """A trial that goes on says what it did before; rungs that it passed have its values."""
    for index in range(2):
        ledger.add({}, {"x": index})
    scheduler = OrderedASHA(ledger, halving(factor=2.0))
    controller = FakeController(scheduler, [[1.0], [1.0]], 2, 0)
    zero, one = sorted(controller.trials, key=lambda t: t.config[INDEX])
    zero.status = one.status = "RUNNING"
    history = json.dumps([{"epoch": 1, "val": 1.0}, {"epoch": 2, "val": 0.5}])
    late = {"epoch": 2, "val": 0.5, "history": history}
    assert scheduler.on_trial_result(controller, zero, late) == TrialScheduler.CONTINUE
    decision = scheduler.on_trial_result(controller, one, {"epoch": 1, "val": 2.0})
    assert decision == TrialScheduler.STOP, "not waiting for what has been"


Build = Callable[..., TrialScheduler]


@pytest.fixture
def build(ledger: Ledger) -> Build:
    def make(name: str, space: str = "l2", **fields: Any) -> TrialScheduler:
        task = "matrix_factorization"
        config = get_learner(task).config_class.create(fields)
        return build_scheduler(
            name,
            ledger,
            config,
            get_space(space).bind(task, config),
            grace_period=1,
            reduction_factor=3,
            seed=0,
        )

    return make


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_can_be_built(build: Build, name: str) -> None:
    assert isinstance(build(name, epochs=9), TrialScheduler)


def test_asha_is_our_own(build: Build) -> None:
    assert isinstance(build("asha"), OrderedASHA)


@pytest.mark.parametrize("space", ["l2", "optimizer"])
def test_what_pbt_perturbs_stays_within_the_fields_ranges(build: Build, space: str) -> None:
    scheduler = build("pbt", space=space)
    names = scheduler._hyperparam_mutations  # type: ignore[attr-defined]
    config_class = get_learner("matrix_factorization").config_class
    assert names
    wild = {**config_class().to_dict(), **dict.fromkeys(names, 1e9), INDEX: 3}
    explored = scheduler._custom_explore_fn(wild)  # type: ignore[attr-defined]
    assert explored.pop(INDEX) == 3
    config_class.create(explored)
    for draw in names.values():
        assert isinstance(draw(), float)


class PackController(FakeController):
    """The same with packs: members go on together, and those of a pack that was cut start anew."""

    def __init__(
        self, scheduler: TrialScheduler, table: Curves, workers: int, seed: int, size: int
    ) -> None:
        super().__init__(scheduler, [], workers, seed)
        self.table = table
        order = self.rng.permutation(len(table))
        parts = np.split(order, range(size, len(order), size))
        self.trials = [
            FakePack(pack_config([{INDEX: int(i)} for i in sorted(part)])) for part in parts
        ]
        self.epochs = [0] * len(table)
        for trial in self.trials:
            scheduler.on_trial_add(self, trial)

    def _end(self, trial: FakeTrial) -> None:
        trial.status = "TERMINATED"
        # Members that a smaller pack was cut from ended where they were, too.
        self.ended |= {i: self.epochs[i] for i in trial.members}  # type: ignore[attr-defined]

    def _advance(self, trial: FakeTrial) -> None:
        going = [config[INDEX] for config in member_configs(trial.config)]
        # A member may be behind the others, as after a crash between their states.
        behind = [i for i in going if self.epochs[i] == min(self.epochs[j] for j in going)]
        if not self.epochs[going[0]] and len(behind) > 1:
            behind = behind[: int(self.rng.integers(1, len(behind) + 1))]
        reports = []
        for i in behind:
            self.epochs[i] += 1
        for i in going:
            if self.epochs[i]:
                value = self.table[i][self.epochs[i] - 1]
                done = self.epochs[i] == MAX_T
                reports.append({INDEX: i, "epoch": self.epochs[i], "val": value, "done": done})
        even = len({self.epochs[i] for i in going}) == 1
        result = {"members": reports, "even": even}
        over = even and self.epochs[going[0]] == MAX_T
        if over or self.scheduler.on_trial_result(self, trial, result) == TrialScheduler.STOP:
            self.scheduler.on_trial_complete(self, trial, result)
            self._end(trial)


@dataclass(eq=False)
class FakePack(FakeTrial):
    members: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.members = [config[INDEX] for config in member_configs(self.config)]

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config


@pytest.mark.parametrize("size", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_packs_decide_as_single_trials_do(ledger: Ledger, seed: int, size: int) -> None:
    table = [values + [0.0] * (MAX_T - len(values)) for values in curves(20, seed)]
    expected = reference(table, rung_levels(MAX_T, 1, 3.0), 3.0, "min")
    for workers in (1, 3):
        scheduler = OrderedASHA(ledger, halving())
        assert PackController(scheduler, table, workers, seed, size).run() == expected
