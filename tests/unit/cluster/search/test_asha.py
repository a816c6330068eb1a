"""ASHA in trial order under a controller: crashes, trials that died, packs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.search.halving import rung_levels
from raysweep.cluster.search.schedulers import InOrder, OrderedASHA
from raysweep.core.storage import Storage
from raysweep.trainables.trial_files import INDEX, member_configs, pack_config
from tests.unit.cluster.search.simulation import (
    MAX_T,
    Curves,
    Simulator,
    curves,
    halving,
    reference,
)


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
    """As much of Ray Tune's controller as the scheduler uses, with W slots."""

    def __init__(self, scheduler: TrialScheduler, table: Curves, workers: int, seed: int) -> None:
        self.scheduler, self.table, self.workers = scheduler, table, workers
        self.rng = np.random.default_rng(seed)
        self.trials = [FakeTrial({INDEX: i}) for i in range(len(table))]
        self.rng.shuffle(self.trials)  # type: ignore[arg-type]
        for trial in self.trials:
            scheduler.on_trial_add(self, trial)
        self.ended: dict[int, int] = {}
        self._tune_controller, self._actor_manager = self, self
        self._trial_to_actor: dict[FakeTrial, bool] = {}

    def is_actor_started(self, actor: bool) -> bool:
        return actor

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


@pytest.mark.parametrize("scheduler", [InOrder(), None], ids=["none", "asha"])
def test_a_process_that_is_free_goes_to_a_trial_that_waits(
    ledger: Ledger, scheduler: TrialScheduler | None
) -> None:
    """And not to one whose own process is starting, which would be ended for it."""
    controller = FakeController(scheduler or OrderedASHA(ledger, halving()), curves(4, 0), 2, 0)
    first, second, third, fourth = sorted(controller.trials, key=lambda t: t.config[INDEX])
    assert controller.scheduler.choose_trial_to_run(controller) is first
    controller._trial_to_actor = {first: True, second: True, third: False}
    assert controller.scheduler.choose_trial_to_run(controller) is third
    controller._trial_to_actor |= {third: True, fourth: True}
    assert controller.scheduler.choose_trial_to_run(controller) is first, "or else the next one"
