"""A search from end to end: data, Ray Tune, ledger, table, best checkpoint and its vectors."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysweep.cluster.machines.capacity import require_resources
from raysweep.cluster.machines.preflight import check_cluster
from raysweep.cluster.machines.session import ray_session, ray_started_beside
from raysweep.cluster.runs.ledger import TRIALS_TABLE, Ledger
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.runs.projector import publish_embeddings
from raysweep.cluster.runs.request import EXPERIMENT, SearchRequest, write_experiment
from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.cluster.search.packing import pack_size
from raysweep.cluster.search.proposers import ListProposer, Proposer, build_proposer, longest_first
from raysweep.cluster.search.warm_start import WarmStart, earlier_results
from raysweep.core.errors import UserError
from raysweep.core.locks import exclusive
from raysweep.core.storage import Storage
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.pack import pack_key
from raysweep.trainables.trial_files import BEST, trial_folder

if TYPE_CHECKING:
    from raysweep.cluster.search.recorder import Deadline

__all__ = ["SearchResult", "publish", "run_search", "stop_on_signal"]

_STOPPING = (
    b"\nraysweep: stopping after the epochs under way; once more, and it stops at once (epochs "
    b"that are done are kept)\n"
)


@dataclass(frozen=True)
class SearchResult:
    """A finished or interrupted search.

    Attributes:
        storage: the run's folder.
        ledger: every trial.
        dataset: the data, with what answers need.
        complete: whether every trial came to its end.
        interrupted: whether a signal ended it before.
    """

    storage: Storage
    ledger: Ledger
    dataset: Dataset
    complete: bool
    interrupted: bool = False

    def as_run(self, request: SearchRequest) -> SavedRun:
        """The run, to be asked questions, with the data that are loaded already."""
        return SavedRun(
            self.storage, request, self.ledger, self.dataset.fingerprint, loaded=self.dataset
        )


def run_search(
    request: SearchRequest,
    storage: Storage,
    *,
    dataset: Dataset | None = None,
    address: str | None = None,
    max_concurrent: int | None = None,
    pack: str = "off",
    time_budget: float | None = None,
    quiet: bool = False,
    show_metric: bool = True,
) -> SearchResult:
    """Runs a search, resumes it, or extends it: whatever the folder calls for.

    Args:
        request: what to search, already `checked()`.
        storage: the run's folder.
        dataset: the data, if they are loaded already.
        address: a Ray cluster; None for this machine.
        max_concurrent: trials, or packs of trials, at a time; as many as fit by default.
        pack: how many trials train as one model: `auto`, `off` or a number.
        time_budget: seconds after which the search pauses, to be resumed by the same call.
        quiet: no progress line.
        show_metric: the progress line shows the best validation metric.

    Raises:
        UserError: the folder belongs to another request or to a search that is under way, the data
            are not usable, or a trial fits on no node.
    """
    learner = request.learner
    progress = Progress(request.num_samples, quiet=quiet, show_metric=show_metric)

    def prepare() -> Dataset:
        loaded = dataset or learner.load_data(learner.data_class.create(request.data))
        from raysweep.cluster.search import ray_tune as tuning  # noqa: F401  (so that it is imported while Ray starts)

        return loaded

    with (
        exclusive(storage, f"the run {storage.uri}", "give this one another --name"),
        ray_started_beside(prepare, address, wanted=not storage.exists(EXPERIMENT)) as dataset,
    ):
        from raysweep.cluster.search.ray_tune import (
            Deadline,
            LedgerSearcher,
            RunCallback,
            concurrency,
            run_trials,
        )

        earlier, notes = earlier_results(request, storage, dataset.fingerprint)
        write_experiment(storage, request, dataset.fingerprint, dataset.description, earlier)
        for note in [] if quiet else notes:
            print(note, file=sys.stderr)
        ledger = Ledger(storage, request.metric, request.mode)
        searcher = LedgerSearcher(
            ledger,
            _proposer(request, earlier, dataset),
            request.complete,
            request.num_samples,
        )
        deadline = Deadline(time_budget)
        if searcher.remaining():
            callback = RunCallback(searcher, storage, progress, deadline, rows=not request.points)
            progress.say("starting Ray …")
            with (
                contextlib.closing(progress),
                ray_session(address) as ray,
                stop_on_signal(deadline),
            ):
                require_resources(ray, request.cpus, request.gpus)
                for worry in check_cluster(ray, storage.uri):
                    progress.say(worry)
                size = pack_size(request, pack, dataset)
                searcher.limit = concurrency(ray, request, max_concurrent, packs=size > 1)
                # Smaller packs where there would not be one for every place.
                searcher.pack_size = min(size, -(-searcher.remaining() // searcher.limit))
                searcher.pack_key = lambda fields: pack_key(learner, request.config(fields))
                run_trials(request, storage, dataset, searcher, callback, deadline)
        if deadline.problem:
            raise UserError(
                f"the run {storage.uri} cannot be written any more: {deadline.problem}. What was "
                "finished is kept; free some space or fix the storage, and run the same command"
            )
        publish(storage, ledger)
        complete = not ledger.unfinished() and not (deadline.expired and searcher.remaining())
        result = SearchResult(storage, ledger, dataset, complete, deadline.signalled)
        publish_embeddings(result.as_run(request))
    return result


def _proposer(
    request: SearchRequest, earlier: Sequence[Mapping[str, Any]], dataset: Dataset
) -> Proposer:
    if not request.spaces:
        return ListProposer([({}, dict(point)) for point in request.points])
    suggest = request.suggest()
    proposer = build_proposer(request.searcher, suggest, request.seed, request.mode)
    if earlier:
        return WarmStart(proposer, suggest, earlier, request.mode)
    if request.searcher == "tpe" or request.scheduler != "none":
        return proposer  # It learns as it goes, or trials are compared in the order of proposals.

    def cost(fields: dict[str, Any]) -> float:
        config = request.config(fields)
        passes = config.stop_after or config.epochs
        return float(num_parameters(request.learner, config, dataset.arrays) * passes)

    return longest_first(proposer, request.complete, cost, request.num_samples)


def publish(storage: Storage, ledger: Ledger) -> None:
    """Writes the table and copies the best trial's checkpoint to `best/`."""
    if not len(ledger):
        return
    blob = io.BytesIO()
    ledger.table().to_parquet(blob, index=False)
    storage.write(TRIALS_TABLE, blob.getvalue())
    for trial in ledger.ranked()[:1]:
        with contextlib.suppress(FileNotFoundError):
            best = (storage / trial_folder(trial.index)).read(BEST)
            (storage / "best").write(BEST, best)


@contextlib.contextmanager
def stop_on_signal(deadline: Deadline) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the search cleanly; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        if deadline.signalled:
            raise KeyboardInterrupt
        deadline.stop()
        # Not print: the signal may have come in the middle of a line that the search itself writes.
        os.write(2, _STOPPING)

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
