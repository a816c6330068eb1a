"""What happens in Ray Tune's loop, written down: ledger, TensorBoard, progress line."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper

from raysweep.analysis.tensorboard.writer import TrialWriter
from raysweep.cluster.machines.session import RETRIES
from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, TrialRecord
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.core.errors import UserError
from raysweep.core.ray_private import (
    clear_statistics,
    forgive_failure,
    node_was_lost,
    num_failures,
)
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint
from raysweep.trainables.trial_files import (
    INDEX,
    LAST,
    member_configs,
    member_reports,
    trial_folder,
)

__all__ = ["Deadline", "RunCallback"]

_UPLOAD_PERIOD_S = 15.0
# One name, so that a trial which goes on elsewhere has no two of them.
_EVENTS = "events.out.tfevents.trial"


class Deadline(Stopper):
    """Ends the search when its time is over, or when `stop()` was called; trials can go on later.

    Args:
        seconds: time from now; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self.expired = self.signalled = False
        self.problem = ""

    def stop(self) -> None:
        """Ends the search at the next opportunity, because a signal asked for it."""
        self.expired = self.signalled = True

    def fail(self, problem: str) -> None:
        """Ends the search at the next opportunity, because results can no longer be kept."""
        self.expired, self.problem = True, self.problem or problem

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether the time is over."""
        if self._end is not None and time.monotonic() > self._end:
            self.expired = True
        return self.expired


class RunCallback(Callback):
    """Keeps the run's records while Ray Tune works.

    Args:
        searcher: whose ledger results and endings go to, and which is told how many trials run.
        storage: the run's folder, for the TensorBoard files.
        progress: the progress line.
        deadline: tells a trial that was stopped for good from one that is to go on later.
        rows: whether trials get a row in TensorBoard's HParams table; retrainings of a search's
            trials, which stand in a folder of it, get none beside them.
    """

    def __init__(
        self,
        searcher: LedgerSearcher,
        storage: Storage,
        progress: Progress,
        deadline: Deadline,
        *,
        rows: bool = True,
    ) -> None:
        self._searcher, self._ledger, self._storage = searcher, searcher.ledger, storage
        self._progress, self._deadline, self._rows = progress, deadline, rows
        self._writers: dict[int, TrialWriter] = {}
        self._packs: dict[str, list[TrialRecord]] = {}
        self._deaths: Counter[int] = Counter()
        self._uploaded = time.monotonic()
        # An object store takes whole files only: they grow here, and are uploaded now and then.
        self._scratch = tempfile.TemporaryDirectory(prefix="raysweep-events-")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles callbacks to restore them, but a run is restored by its ledger."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Counts the trials that take, or are to take, a place on the machine."""
        self._searcher.active = sum(t.status in ("PENDING", "RUNNING") for t in trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Opens the trial's TensorBoard file; ends the members that a pack went on without."""
        records = self._records(trial)
        for record in self._packs.get(trial.trial_id, []):
            if record not in records and record.status == RUNNING:
                self._keep(self._end, record, STOPPED)
        self._packs[trial.trial_id] = records
        for record in records:
            self._open(record)

    def _open(self, record: TrialRecord) -> None:
        if record.index not in self._writers:
            writer = TrialWriter(self._folder(record.index))
            for result in record.history:
                writer.scalars(result)
            self._writers[record.index] = writer

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Writes an epoch down."""
        if "storage_failure" in result:
            self._deadline.fail(result["storage_failure"])
        configs = {int(config[INDEX]): config for config in member_configs(trial.config)}
        for index, report in member_reports(trial.config, result):
            self._keep(self._on_result, self._ledger.trials[index], configs[index], report)

    def _on_result(
        self, record: TrialRecord, configuration: dict[str, Any], result: dict[str, Any]
    ) -> None:
        if record.status != RUNNING:
            return  # A member of a pack that goes on without it.
        if "failure" in result:
            self._end(record, FAILED, result["failure"])
            return
        report = json.loads(result["report"])
        config = {k: v for k, v in configuration.items() if k in record.config}
        if config != record.config:
            self._ledger.reconfigure(record.index, config)
        for each in [*json.loads(result.get("history", "[]")), report]:
            if self._ledger.result(record.index, each) and record.index in self._writers:
                self._writers[record.index].scalars(each)
                if each == report:
                    texts = result.get("texts", {})
                    self._writers[record.index].texts(texts, report["epoch"])
        if result.get("finished"):
            self._end(record, FINISHED)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Writes down that the scheduler stopped a trial; one that the clock cut off is not."""
        for record in self._packs.pop(trial.trial_id, self._records(trial)):
            if record.status == RUNNING and not self._deadline.expired:
                self._keep(self._end, record, STOPPED)
        # Ray keeps windows of every metric of every trial; the ledger has all that is needed.
        clear_statistics(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Takes the loss of a node off the trial's count: a trial may lose any number of them."""
        if node_was_lost(trial):
            forgive_failure(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Writes down trials whose process died too often, and what Ray said each time.

        Ray also gives a trial up at the first death of a process that is being handed over to it
        from the trial before. That one is suggested again.
        """
        said = "the worker process died"
        with contextlib.suppress(OSError, TypeError):  # none, or not written by Ray
            said = Path(trial.error_file).read_text()
        own = not node_was_lost(trial)
        for record in self._records(trial):
            self._deaths[record.index] += own
            deaths = max(self._deaths[record.index], num_failures(trial))
            if deaths <= RETRIES and record.status == RUNNING:
                self._searcher.again(record)
            elif record.status == RUNNING:
                self._keep(self._storage.write, f"{trial_folder(record.index)}/error.txt", said)
                self._keep(self._end, record, FAILED, said.strip().splitlines()[-1].strip())

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Lets the progress line breathe."""
        self._progress.update(self._ledger)
        if time.monotonic() - self._uploaded > _UPLOAD_PERIOD_S:
            for index in self._writers:
                self._keep(self._upload, index)
            self._uploaded = time.monotonic()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Closes what is open."""
        for index, writer in self._writers.items():
            self._keep(writer.close)
            self._keep(self._upload, index)
        self._keep(self._ledger.flush)
        self._scratch.cleanup()

    def _keep(self, write: Callable[..., None], *arguments: Any) -> None:
        """Writes; when that fails, ends the search and writes no more."""
        if self._deadline.problem:
            return
        try:
            write(*arguments)
        except OSError as error:
            self._deadline.fail(f"{error}")

    def _records(self, trial: Any) -> list[TrialRecord]:
        return [self._ledger.trials[int(c[INDEX])] for c in member_configs(trial.config)]

    def _end(self, record: TrialRecord, status: str, error: str = "") -> None:
        # TensorBoard first: a trial that the ledger calls ended has its files whole.
        writer = self._writers.pop(record.index, None)
        if writer is not None:
            best = record.best(self._ledger.metric, self._ledger.mode)
            name = f"trial {record.index:05d}"
            if self._rows:
                writer.row(name, record.config, best or {}, self._ledger.metric)
            writer.close()
            self._upload(record.index)
        if status == STOPPED and self._storage.local is not None:
            # Most of the file. An object store would have to send and receive it.
            with contextlib.suppress(FileNotFoundError, UserError):
                checkpoint.drop(self._storage / trial_folder(record.index), LAST, "optimizer")
        self._ledger.end(record.index, status, error)

    def _folder(self, index: int) -> Path:
        """Where a trial's event file grows."""
        return (self._storage.local or Path(self._scratch.name)) / trial_folder(index)

    def _upload(self, index: int) -> None:
        """Writes a trial's event file to an object store, in the place of its last state."""
        if self._storage.local is None:
            for path in self._folder(index).glob("events.out.tfevents.*"):
                name = f"{trial_folder(index)}/{_EVENTS}"
                self._storage.write(name, path.read_bytes())
