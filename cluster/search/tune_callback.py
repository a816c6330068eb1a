"""Ray Tune's loop, as the run's recorder hears of it: a thin adapter."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper

from raysweep.cluster.machines.session import RETRIES
from raysweep.cluster.runs.ledger import RUNNING, STOPPED, TrialRecord
from raysweep.cluster.search.curves.under_tune import CurveSearcher
from raysweep.cluster.search.deadline import Deadline
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.recorder import RunRecorder
from raysweep.core.ray_private import (
    clear_statistics,
    forgive_failure,
    node_was_lost,
    num_failures,
)
from raysweep.trainables.trial_files import INDEX, member_configs, member_reports

__all__ = ["DeadlineStopper", "TuneCallback", "UserCallbacks"]


class DeadlineStopper(Stopper):
    """Ends Ray Tune's loop at the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether it is time to stop."""
        return self._deadline.reached()


class UserCallbacks(Callback):
    """Hands what happens on to callbacks of the user's, as Ray Tune alone would tell it.

    A result has the numbers that the trial reported, not the form in which they travel. A callback
    that fails is named once and left out from then on: it costs no trial.

    Args:
        callbacks: `ray.tune.Callback`s.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = list(callbacks)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Sets each of them up."""
        self._tell("setup", *arguments, **info)

    def _tell(self, hook: str, *arguments: Any, **info: Any) -> None:
        if "result" in info:
            if hook == "on_trial_result" and not info["result"].get("fresh", True):
                return
            info["result"] = _as_reported(info["result"])
        for callback in list(self._callbacks):
            try:
                getattr(callback, hook)(*arguments, **info)
            except Exception as error:
                self._callbacks.remove(callback)
                name = type(callback).__name__
                print(
                    f"the callback {name} failed in {hook} and is left out from now on: "
                    f"{type(error).__name__}: {error}",
                    file=sys.stderr,
                )


_HOOKS = (
    *("on_step_begin", "on_step_end", "on_trial_start", "on_trial_restore", "on_trial_save"),
    *("on_trial_result", "on_trial_complete", "on_trial_recover", "on_trial_error"),
    *("on_checkpoint", "on_experiment_end"),
)
for _hook in _HOOKS:
    setattr(UserCallbacks, _hook, partialmethod(UserCallbacks._tell, _hook))


def _as_reported(result: dict[str, Any]) -> dict[str, Any]:
    """A result as the trial's code reported it, beside what Ray adds."""
    reported = json.loads(result.get("report", "{}"))
    kept = {k: v for k, v in result.items() if k not in ("report", "history", "texts")}
    return {**kept, **reported, "training_iteration": reported.get("epoch", 0)}


class TuneCallback(Callback):
    """Hands what happens to Ray Tune's trials, or packs of trials, to the recorder.

    Args:
        searcher: is told how many trials run, and suggests those again that Ray gave up too early.
        recorder: keeps the run's records.
        deadline: tells a trial that was stopped for good from one that is to go on later.
    """

    def __init__(
        self, searcher: LedgerSearcher | CurveSearcher, recorder: RunRecorder, deadline: Deadline
    ) -> None:
        self._searcher, self._recorder, self._deadline = searcher, recorder, deadline
        self._packs: dict[str, list[TrialRecord]] = {}
        self._deaths: Counter[int] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles callbacks to restore them, but a run is restored by its ledger."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Counts the trials that take, or are to take, a place on the machine."""
        self._searcher.active = sum(t.status in ("PENDING", "RUNNING") for t in trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ends the members that a pack went on without, and starts the others."""
        records = self._records(trial)
        for record in self._packs.get(trial.trial_id, []):
            if record not in records:
                self._recorder.end(record, STOPPED)
        self._packs[trial.trial_id] = records
        for record in records:
            self._recorder.start(record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Hands on each member's report."""
        self.note(trial, result)

    def note(self, trial: Any, result: dict[str, Any]) -> None:
        """Writes down what a trial reported; what is known already changes nothing."""
        if "storage_failure" in result:
            self._deadline.fail(result["storage_failure"])
            return
        if "refusal" in result:
            self._deadline.refuse(result["refusal"])
            return
        configs = {int(config[INDEX]): config for config in member_configs(trial.config)}
        for index, report in member_reports(trial.config, result):
            record = self._searcher.ledger.trials[index]
            config = {k: v for k, v in configs[index].items() if k in record.config}
            self._recorder.result(record, report, config)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes that the scheduler stopped a trial; one that the clock cut off is not over."""
        for record in self._packs.pop(trial.trial_id, self._records(trial)):
            if not self._deadline.expired and not self._searcher.pauses:
                self._recorder.end(record, STOPPED)
        # Ray keeps windows of every metric of every trial; the ledger has all that is needed.
        clear_statistics(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Takes the loss of a node off the trial's count: a trial may lose any number of them."""
        if node_was_lost(trial):
            forgive_failure(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Writes down trials whose process died too often, and what Ray reported each time.

        Ray also gives a trial up at the first death of a process that is being handed over to it
        from the trial before. That one is suggested again.
        """
        message = ""
        with contextlib.suppress(OSError, TypeError):  # none, or not written by Ray
            message = Path(trial.error_file).read_text()
        counted = not node_was_lost(trial)
        for record in self._records(trial):
            self._deaths[record.index] += counted
            deaths = max(self._deaths[record.index], num_failures(trial))
            if deaths <= RETRIES and record.status == RUNNING:
                self._searcher.again(record)
            else:
                self._recorder.fail(record, message)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Lets the progress line breathe."""
        self._recorder.refresh()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Closes what is open."""
        self._recorder.close()

    def _records(self, trial: Any) -> list[TrialRecord]:
        records = self._searcher.ledger.trials
        return [records[int(config[INDEX])] for config in member_configs(trial.config)]
