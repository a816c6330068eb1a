"""Schedulers: which trials go on. ASHA in trial order is our own; the others are Ray's.

Ray's ASHA compares a trial with whichever trials happened to arrive at a rung before it, so that
its decisions, and the final table, depend on timing. Here a trial is compared with the trials of
lower index only, and where one of those is not there yet, it is paused and its place on the machine
goes to another trial. Decisions are then a function of the results alone: the same on any number of
workers, and the same after a crash.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from raysweep.cluster.runs.ledger import FAILED, RUNNING, Ledger
from raysweep.cluster.runs.request import changeable
from raysweep.core.config import Config
from raysweep.search_spaces import Suggest, sample
from raysweep.trainables.learner import is_better
from raysweep.trainables.trial_files import INDEX, member_configs, member_reports, pack_config

__all__ = ["OrderedASHA", "SuccessiveHalving", "build_scheduler", "rung_levels"]

CONTINUE, STOP, WAIT = "continue", "stop", "wait"
# Of a function that does not say how often it reports.
_MANY_EPOCHS = 1_000_000


def rung_levels(max_t: int, grace_period: int, reduction_factor: float) -> list[int]:
    """The epochs at which trials are compared: grace_period · reduction_factor^k, below max_t."""
    levels, level = set(), float(grace_period)
    while round(level) < max_t:
        levels.add(round(level))
        level *= reduction_factor
    return sorted(levels)


class SuccessiveHalving:
    """The decisions of asynchronous successive halving with arrivals in order of index.

    At each rung a trial goes on if it is as good as the best 1/reduction_factor of the trials of
    lower index that reached the rung, or if those are too few to say. Judged is the best value so
    far.
    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.

    Args:
        levels: the rungs, in epochs.
        reduction_factor: one in how many goes on.
        mode: "min" or "max".
    """

    def __init__(self, levels: list[int], reduction_factor: float, mode: str) -> None:
        self.levels, self.mode = levels, mode
        self._factor = reduction_factor
        self._best: dict[int, float] = {}
        self._rungs: list[dict[int, float]] = [{} for _ in levels]
        self._fronts = [0] * len(levels)
        self._ended: set[int] = set()

    def record(self, index: int, epoch: int, value: float) -> None:
        """Notes a trial's value after an epoch; an epoch noted before changes nothing."""
        if is_better(value, self._best.get(index), self.mode):
            self._best[index] = value
        if epoch in self.levels:
            self._rungs[self.levels.index(epoch)].setdefault(index, self._best[index])

    def begin(self, index: int) -> None:
        """Notes that a trial runs, perhaps again."""
        self._ended.discard(index)

    def end(self, index: int) -> None:
        """Notes that a trial will reach no further rung."""
        self._ended.add(index)

    def decide(self, index: int, epoch: int) -> str:
        """Continue, stop, or wait for trials of lower index to arrive at this rung."""
        if epoch not in self.levels or index + 1 < self._factor:
            return CONTINUE
        rung = self.levels.index(epoch)
        values, front = self._rungs[rung], self._fronts[rung]
        while front < index and (front in values or front in self._ended):
            front += 1
        self._fronts[rung] = front
        if front < index:
            return WAIT
        earlier = [value for other, value in values.items() if other < index]
        if len(earlier) + 1 < self._factor:
            return CONTINUE  # Too few to tell the best 1/reduction_factor of.
        share = 1.0 / self._factor if self.mode == "min" else 1.0 - 1.0 / self._factor
        cutoff = float(np.quantile(earlier, share))
        return STOP if is_better(cutoff, values[index], self.mode) else CONTINUE


class OrderedASHA(FIFOScheduler):
    """`SuccessiveHalving` under Ray Tune, started from what the ledger knows.

    Args:
        ledger: the run's memory; results that it holds count as if they had just arrived.
        halving: the decisions.
    """

    def __init__(self, ledger: Ledger, halving: SuccessiveHalving) -> None:
        super().__init__()
        self._halving, self._ledger = halving, ledger
        self._key = ledger.metric
        self._died: set[int] = set()
        self._waiting: dict[int, tuple[Any, dict[int, int]]] = {}
        for trial in ledger:
            for result in trial.history:
                halving.record(trial.index, int(result["epoch"]), result[self._key])
            if trial.status != RUNNING:
                halving.end(trial.index)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is new, or its worker died and it starts again."""
        for index in _indexes(trial):
            self._halving.begin(index)
            self._died.discard(index)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Continues, stops, or pauses the trial without a checkpoint: its state is on disk.

        A pack waits as a whole: until all of its members can go on or stop.
        """
        self._end_failed()
        epochs = {}
        for index, report in member_reports(trial.config, result):
            self._note(index, report)
            if not report.get("done"):
                epochs[index] = int(report["epoch"])
        if not result.get("even", True):
            return str(TrialScheduler.CONTINUE)  # Members that are behind train first.
        decisions = {self._halving.decide(index, epoch) for index, epoch in epochs.items()}
        if decisions == {STOP}:
            return str(TrialScheduler.STOP)
        if decisions <= {CONTINUE}:
            return str(TrialScheduler.CONTINUE)
        self._waiting[int(trial.config[INDEX])] = (trial, epochs)
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return str(TrialScheduler.NOOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Others need not wait for this trial any more."""
        for index, report in member_reports(trial.config, result):
            self._note(index, report)
        self._end(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Others wait for this trial, which may start again, until the ledger calls it failed."""
        self._died.update(_indexes(trial))

    def _end_failed(self) -> None:
        for index in [i for i in self._died if self._ledger.trials[i].status == FAILED]:
            self._halving.end(index)
            self._died.discard(index)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A paused trial was stopped."""
        self._end(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The paused trial of lowest index whose decision is in, or else a new one."""
        self._end_failed()
        for first, (trial, epochs) in sorted(self._waiting.items()):
            decisions = {i: self._halving.decide(i, epoch) for i, epoch in epochs.items()}
            if WAIT in decisions.values():
                continue
            del self._waiting[first]
            stopped = [index for index, decision in decisions.items() if decision == STOP]
            if len(stopped) == len(decisions):
                tune_controller.stop_trial(trial)
                continue
            if stopped:
                # Those that stop have their states on disk; the rest start again as a smaller pack.
                rest = [c for c in member_configs(trial.config) if c[INDEX] not in stopped]
                trial.set_config(pack_config(rest))
                for index in stopped:
                    self._halving.end(index)
            return trial
        pending = (t for t in tune_controller.get_live_trials() if t.status == t.PENDING)
        return min(pending, key=lambda t: int(t.config[INDEX]), default=None)

    def _note(self, index: int, report: Mapping[str, Any]) -> None:
        """Notes a result, and those before it that the ledger may have missed."""
        for each in [*json.loads(report.get("history", "[]")), report]:
            if self._key in each:
                self._halving.record(index, int(each["epoch"]), float(each[self._key]))
        if report.get("done"):
            self._halving.end(index)

    def _end(self, trial: Any) -> None:
        for index in _indexes(trial):
            self._halving.end(index)


def _indexes(trial: Any) -> list[int]:
    """The run's trials that one of Ray Tune's trials trains."""
    return [int(config[INDEX]) for config in member_configs(trial.config)]


def build_scheduler(
    name: str,
    ledger: Ledger,
    config: Any,
    suggest: Suggest,
    *,
    grace_period: int,
    reduction_factor: float,
    seed: int,
) -> TrialScheduler:
    """The scheduler of that name, one of `cluster.runs.request.SCHEDULERS`, over epochs."""
    max_t = config.epochs or _MANY_EPOCHS
    if name == "none":
        return FIFOScheduler()
    if name == "asha":
        levels = rung_levels(max_t, grace_period, reduction_factor)
        return OrderedASHA(ledger, SuccessiveHalving(levels, reduction_factor, ledger.mode))
    if name == "hyperband":
        return HyperBandScheduler("epoch", max_t=max_t, reduction_factor=reduction_factor)
    if name == "median":
        return MedianStoppingRule("epoch", grace_period=grace_period, min_samples_required=3)
    return _pbt(type(config), suggest, seed, max(1, grace_period))


class _LedgerPBT(PopulationBasedTraining):
    """Ray's PBT, which refuses searchers because they would not learn of changed configurations.

    The ledger does learn of them, through the run's callback.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], Any]:
        # A trial that copies another stays itself: its index names its folder and ledger entries.
        config, operations = super()._get_new_config(trial, trial_to_clone)
        return {**config, INDEX: trial.config[INDEX]}, operations


def _pbt(
    config_class: type[Config], suggest: Suggest, seed: int, interval: int
) -> PopulationBasedTraining:
    """Population-based training over the fields that a running model can change."""
    fields = changeable(sample(suggest, seed)[1])
    rng = np.random.default_rng(seed)

    def draw(name: str) -> Callable[[], Any]:
        return lambda: sample(suggest, int(rng.integers(2**31)))[1][name]

    return _LedgerPBT(
        time_attr="epoch",
        perturbation_interval=interval,
        hyperparam_mutations={name: draw(name) for name in fields},
        custom_explore_fn=lambda config: _clamp(config_class, config),
        log_config=False,
    )


def _clamp(config_class: type[Config], config: Mapping[str, Any]) -> dict[str, Any]:
    """Brings perturbed values back into their fields' ranges."""
    clamped = dict(config)
    for f in dataclasses.fields(config_class):
        value = clamped.get(f.name)
        if isinstance(value, float):
            low, high = f.metadata.get("low"), f.metadata.get("high")
            value = value if low is None else max(value, low)
            clamped[f.name] = value if high is None else min(value, high)
    return clamped
