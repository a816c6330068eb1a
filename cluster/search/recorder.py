"""What a run writes down while it trains: ledger, TensorBoard files, progress line. No Ray here.

Ray Tune's loop reports to it through `tune_callback`, the workers of one model through `ray_train`.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raysweep.analysis.tensorboard.writer import TrialWriter
from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, Ledger, TrialRecord
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.search.deadline import Deadline
from raysweep.cluster.search.early_end import EarlyEnd
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint
from raysweep.trainables.trial_files import LAST, trial_folder

__all__ = ["RunRecorder"]

_UPLOAD_PERIOD_S = 15.0
# One name, so that a trial which goes on elsewhere has no two of them.
_EVENTS = "events.out.tfevents.trial"


class RunRecorder:
    """Keeps a run's records. When one cannot be written, it ends the run and writes no more.

    Args:
        ledger: where trials, results and endings go.
        storage: the run's folder, for the TensorBoard files.
        progress: the progress line.
        deadline: told when the storage fails.
        hparams: whether trials get a row in TensorBoard's HParams table; retrainings of a search's
            trials, which stand in a folder of it, get none beside them.
        goal: what ends the search early; nothing by default.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        progress: Progress,
        deadline: Deadline,
        *,
        hparams: bool = True,
        goal: EarlyEnd | None = None,
    ) -> None:
        self.ledger = ledger
        self._goal = goal or EarlyEnd(ledger)
        self._storage, self._progress, self._deadline = storage, progress, deadline
        self._hparams = hparams
        self._writers: dict[int, TrialWriter] = {}
        self._uploaded = time.monotonic()
        # An object store takes whole files only: they grow here, and are uploaded now and then.
        self._scratch = tempfile.TemporaryDirectory(prefix="raysweep-events-")

    def start(self, trial: TrialRecord) -> None:
        """Opens the trial's TensorBoard file, anew from the ledger if it had begun before."""
        if trial.index not in self._writers:
            self._keep(self._open, trial)

    def result(
        self, trial: TrialRecord, report: Mapping[str, Any], config: Mapping[str, Any] | None = None
    ) -> None:
        """Writes down what a trial reported: an epoch's result, its failure or the storage's.

        Args:
            trial: which; a report of one that has ended is ignored.
            report: as `LearnerTrainable.step` returns it.
            config: its configuration now, where a scheduler may have changed it.
        """
        if "storage_failure" in report:
            self._deadline.fail(report["storage_failure"])
        elif "refusal" in report:
            self._deadline.refuse(report["refusal"])
        elif trial.status == RUNNING:
            self._keep(self._result, trial, report, config)
            self._check_goal(trial)

    def end(self, trial: TrialRecord, status: str, error: str = "") -> None:
        """Writes down that a running trial has ended."""
        if trial.status == RUNNING:
            self._keep(self._end, trial, status, error)
            self._check_goal(trial)

    def fail(self, trial: TrialRecord, message: str) -> None:
        """Ends a trial whose process failed; the whole message goes into its folder."""
        if trial.status == RUNNING:
            lines = message.strip().splitlines() or ["the worker process died"]
            self._keep(self._storage.write, f"{trial_folder(trial.index)}/error.txt", message)
            self._keep(self._end, trial, FAILED, lines[-1].strip())

    def refresh(self) -> None:
        """Shows the progress, and now and then sends event files to an object store."""
        self._progress.update(self.ledger)
        if time.monotonic() - self._uploaded > _UPLOAD_PERIOD_S:
            for index in self._writers:
                self._keep(self._upload, index)
            self._uploaded = time.monotonic()

    def close(self) -> None:
        """Closes what is open."""
        for index, writer in self._writers.items():
            self._keep(writer.close)
            self._keep(self._upload, index)
        self._keep(self.ledger.flush)
        self._scratch.cleanup()

    def _check_goal(self, trial: TrialRecord) -> None:
        self._goal.update(trial)
        if reached := self._goal.reached():
            self._deadline.succeed(reached)

    def _keep(self, write: Callable[..., None], *arguments: Any) -> None:
        if self._deadline.problem:
            return
        try:
            write(*arguments)
        except OSError as error:
            self._deadline.fail(f"{error}")

    def _open(self, trial: TrialRecord) -> None:
        writer = TrialWriter(self._folder(trial.index))
        for result in trial.history:
            writer.scalars(result)
        self._writers[trial.index] = writer

    def _result(
        self, trial: TrialRecord, report: Mapping[str, Any], config: Mapping[str, Any] | None
    ) -> None:
        if "failure" in report:
            self._end(trial, FAILED, report["failure"])
            return
        last = json.loads(report["report"])
        if config is not None and dict(config) != trial.config:
            self.ledger.reconfigure(trial.index, config)
        writer = self._writers.get(trial.index)
        for result in [*json.loads(report.get("history", "[]")), last]:
            if self.ledger.result(trial.index, result) and writer is not None:
                writer.scalars(result)
                if result == last:
                    writer.texts(report.get("texts", {}), last["epoch"])
        if report.get("infeasible"):
            self._end(trial, STOPPED, report["infeasible"])
        elif report.get("finished"):
            self._end(trial, FINISHED)

    def _end(self, trial: TrialRecord, status: str, error: str = "") -> None:
        # TensorBoard first: a trial that the ledger calls ended has its files whole.
        writer = self._writers.pop(trial.index, None)
        if writer is not None:
            if self._hparams:
                best = trial.best(self.ledger.metric, self.ledger.mode) or {}
                name = f"trial {trial.index:05d}"
                writer.row(name, trial.config, best, self.ledger.metric)
            writer.close()
            self._upload(trial.index)
        paused = trial.decisions and not error  # a larger budget may have it go on
        if status == STOPPED and self._storage.local is not None and not paused:
            # Most of the file. An object store would have to send and receive it.
            with contextlib.suppress(FileNotFoundError, UserError):
                checkpoint.drop(self._storage / trial_folder(trial.index), LAST, "optimizer")
        self.ledger.end(trial.index, status, error)

    def _folder(self, index: int) -> Path:
        """Where a trial's event file grows."""
        return (self._storage.local or Path(self._scratch.name)) / trial_folder(index)

    def _upload(self, index: int) -> None:
        """Writes a trial's event file to an object store, in the place of its last state."""
        if self._storage.local is None:
            for path in self._folder(index).glob("events.out.tfevents.*"):
                name = f"{trial_folder(index)}/{_EVENTS}"
                self._storage.write(name, path.read_bytes())
