"""A search from end to end: data, Ray Tune, ledger, table, best checkpoint and its vectors."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.callback import Deadline, RunCallback
from cluster.capacity import require_resources, trial_places
from cluster.embeddings import publish_embeddings
from cluster.ledger import TRIALS_TABLE, Ledger
from cluster.locks import exclusive
from cluster.packing import pack_size
from cluster.preflight import check_cluster
from cluster.progress import Progress
from cluster.proposers import ListProposer, Proposer, build_proposer
from cluster.request import SearchRequest, write_experiment
from cluster.runs import SavedRun
from cluster.schedulers import build_scheduler
from cluster.searchers import LedgerSearcher
from cluster.session import RETRIES, ray_session
from cluster.warm_start import WarmStart, earlier_results
from data.errors import UserError
from data.storage import Storage
from trainables.base import LearnerTrainable, PackTrainable
from trainables.learner import Dataset
from trainables.pack import pack_key
from trainables.trials import BEST, trial_folder

__all__ = ["SearchResult", "publish", "run_search", "stop_on_signal"]


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
    with exclusive(storage, f"the run {storage.uri}", "give this one another --name"):
        dataset = dataset or learner.load_data(learner.data_class.create(request.data))
        earlier, notes = earlier_results(request, storage, dataset.fingerprint)
        write_experiment(storage, request, dataset.fingerprint, dataset.description, earlier)
        for note in [] if quiet else notes:
            print(note, file=sys.stderr)
        ledger = Ledger(storage, request.metric, request.mode)
        searcher = LedgerSearcher(
            ledger,
            _proposer(request, earlier),
            lambda fields: request.config(fields).to_dict(),
            request.num_samples,
        )
        deadline = Deadline(time_budget)
        if searcher.remaining():
            progress = Progress(request.num_samples, quiet=quiet, show_metric=show_metric)
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
                searcher.limit = _limit(ray, request, max_concurrent, packs=size > 1)
                # Smaller packs where there would not be one for every place.
                searcher.pack_size = min(size, -(-searcher.remaining() // searcher.limit))
                searcher.pack_key = lambda fields: pack_key(learner, request.config(fields))
                _tune(request, storage, dataset, searcher, callback, deadline)
        if deadline.problem:
            raise UserError(
                f"the run {storage.uri} cannot be written any more: {deadline.problem}. What was "
                "finished is kept; free some space or mend the storage, and run the same command"
            )
        publish(storage, ledger)
        complete = not ledger.unfinished() and not (deadline.expired and searcher.remaining())
        result = SearchResult(storage, ledger, dataset, complete, deadline.signalled)
        publish_embeddings(result.as_run(request))
    return result


def _proposer(request: SearchRequest, earlier: Sequence[Mapping[str, Any]]) -> Proposer:
    if not request.spaces:
        return ListProposer([({}, dict(point)) for point in request.points])
    suggest = request.suggest()
    proposer = build_proposer(request.searcher, suggest, request.seed, request.mode)
    return WarmStart(proposer, suggest, earlier, request.mode) if earlier else proposer


def _tune(
    request: SearchRequest,
    storage: Storage,
    dataset: Dataset,
    searcher: LedgerSearcher,
    callback: RunCallback,
    deadline: Deadline,
) -> None:
    """Every call of Ray Tune is here."""
    from ray import tune

    # Ray would ask for the next trial only when the last one has started; so all start at once.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(searcher.limit)

    # Trials keep their own states. PBT copies Ray's, and HyperBand goes on from them.
    ray_states = bool(request.spaces) and request.scheduler in ("pbt", "hyperband")
    trainable = tune.with_parameters(
        PackTrainable if searcher.pack_size > 1 else LearnerTrainable,
        learner_class=request.learner,
        arrays=dict(dataset.arrays),
        run_uri=storage.uri,
        metric=request.metric,
        mode=request.mode,
        threads=max(1, int(request.cpus)),
        gpus=request.gpus,
        ray_states=ray_states,
    )
    scheduler = build_scheduler(
        request.scheduler if request.spaces else "none",
        searcher.ledger,
        request.config({}),
        request.suggest(),
        grace_period=request.grace_period,
        reduction_factor=request.reduction_factor,
        seed=request.seed,
    )
    ray_folder = storage / "ray"
    with tempfile.TemporaryDirectory(prefix="raysweep-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": request.cpus, "gpu": request.gpus}),
            tune_config=tune.TuneConfig(
                metric=request.metric,
                mode=request.mode,
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # the searcher says when there are no more
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=ray_folder.uri if ray_states else scratch,
                callbacks=[callback],
                stop=deadline,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            if ray_states:
                with contextlib.suppress(OSError):
                    ray_folder.remove_all()


def _limit(ray: Any, request: SearchRequest, max_concurrent: int | None, *, packs: bool) -> int:
    """Trials at a time: what was asked for, or what fits and a few that wait for their places.

    With too few waiting, Ray ends a worker whose trial is over where another trial could use it.
    Packs do not wait: a searcher learns nothing from what is proposed and has not started.
    """
    if max_concurrent is not None:
        return max_concurrent
    places = trial_places(ray, request.cpus, request.gpus)
    return places if packs else places + min(places, 4)


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.config['trial_index']:05d}"


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

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
