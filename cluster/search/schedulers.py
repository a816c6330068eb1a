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
from raysweep.cluster.search.halving import (
    CONTINUE,
    STOP,
    WAIT,
    ParetoHalving,
    SuccessiveHalving,
    rung_levels,
)
from raysweep.core.config import Config
from raysweep.core.free_config import FreeConfig
from raysweep.core.ray_private import has_process
from raysweep.search_spaces import Suggest, sample
from raysweep.trainables.trial_files import INDEX, member_configs, member_reports, pack_config

__all__ = ["OrderedASHA", "build_scheduler"]

# Of a function that does not say how often it reports.
_MANY_EPOCHS = 1_000_000


class OrderedASHA(FIFOScheduler):
    """`SuccessiveHalving` under Ray Tune, started from what the ledger knows.

    Args:
        ledger: the run's memory; results that it holds count as if they had just arrived.
        halving: the decisions.
    """

    def __init__(self, ledger: Ledger, halving: SuccessiveHalving) -> None:
        super().__init__()
        self._halving, self._ledger = halving, ledger
        self._died: set[int] = set()
        self._waiting: dict[int, tuple[Any, dict[int, int]]] = {}
        self._undecided: dict[int, list[int]] = {}
        for trial in ledger:
            for result in trial.history if ledger.keeps_to_constraints(trial) else ():
                halving.record(trial.index, int(result["epoch"]), self._value(result))
            if trial.status != RUNNING:
                halving.end(trial.index)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is new, or its worker died and it starts again."""
        for index in _indexes(trial):
            self._halving.begin(index)
            self._died.discard(index)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Continues, stops, or pauses the trial without a checkpoint: its state is on disk.

        A pack waits as a whole: until all of its members can go on or stop. A function without a
        checkpoint would start anew; it goes on, and is stopped late if that is the decision.
        """
        self._end_failed()
        epochs = {}
        for index, report in member_reports(trial.config, result):
            self._note(index, report)
            if not report.get("done"):
                epochs[index] = int(report["epoch"])
        if not result.get("even", True):
            return str(TrialScheduler.CONTINUE)  # Members that are behind train first.
        if not result.get("resumable", True):
            decisions = {self._decide_late(index, epoch) for index, epoch in epochs.items()}
        else:
            decisions = {self._halving.decide(index, epoch) for index, epoch in epochs.items()}
        if decisions == {STOP}:
            return str(TrialScheduler.STOP)
        if decisions <= {CONTINUE}:
            return str(TrialScheduler.CONTINUE)
        self._waiting[int(trial.config[INDEX])] = (trial, epochs)
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return str(TrialScheduler.NOOP)

    def _decide_late(self, index: int, epoch: int) -> str:
        """Continue or stop, by each rung so far at which the others have arrived by now."""
        rungs = [*self._undecided.get(index, []), epoch]
        decisions = {rung: self._halving.decide(index, rung) for rung in rungs}
        self._undecided[index] = [rung for rung in rungs if decisions[rung] == WAIT]
        return STOP if STOP in decisions.values() else CONTINUE

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
        return _next_pending(tune_controller)

    def _note(self, index: int, report: Mapping[str, Any]) -> None:
        """Notes a result, and those before it that the ledger may have missed.

        A trial that broke a constraint is no measure for others.
        """
        for each in [*json.loads(report.get("history", "[]")), report]:
            if self._ledger.metric in each and "infeasible" not in report:
                self._halving.record(index, int(each["epoch"]), self._value(each))
        if report.get("done"):
            self._halving.end(index)

    def _value(self, result: Mapping[str, Any]) -> Any:
        """What trials are compared by: the metric, or the losses of several objectives."""
        if len(self._ledger.objectives) > 1:
            return self._ledger.losses(result)
        return float(result[self._ledger.metric])

    def _end(self, trial: Any) -> None:
        for index in _indexes(trial):
            self._halving.end(index)


class InOrder(FIFOScheduler):
    """Stops nothing."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next trial."""
        return _next_pending(tune_controller)


def _next_pending(tune_controller: Any) -> Any:
    """The trial of lowest index that waits for a place; None without one.

    It gets the next process that is free. Ray's own choice would be a trial whose process is just
    starting, which is then ended: where many start on few cores, most of them for nothing.
    """
    pending = [t for t in tune_controller.get_live_trials() if t.status == t.PENDING]
    waiting = [t for t in pending if not has_process(tune_controller, t)]
    return min(waiting or pending, key=lambda t: int(t.config[INDEX]), default=None)


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
        return InOrder()
    if name == "asha":
        levels = rung_levels(max_t, grace_period, reduction_factor)
        if len(ledger.objectives) > 1:
            return OrderedASHA(ledger, ParetoHalving(levels, reduction_factor))
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
    searched = sample(suggest, seed)[1]
    # Code of the user's takes a new configuration whole, and goes on from its checkpoint.
    fields = list(searched) if issubclass(config_class, FreeConfig) else changeable(searched)
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
