"""A run from end to end: data, Ray, ledger, table, best checkpoint and its vectors."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.cluster.machines.capacity import require_resources, require_workers
from raysweep.cluster.machines.preflight import check_cluster
from raysweep.cluster.machines.session import ray_session, ray_started_beside
from raysweep.cluster.runs.experiment import EXPERIMENT, write_experiment
from raysweep.cluster.runs.ledger import TRIALS_TABLE, Ledger
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.runs.projector import publish_embeddings
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.cluster.search.curves.earlier import earlier_curves, trust_notes
from raysweep.cluster.search.curves.transfer import EarlierRun
from raysweep.cluster.search.deadline import Deadline, stop_on_signal
from raysweep.cluster.search.early_end import EarlyEnd
from raysweep.cluster.search.objectives.refusals import Refusals
from raysweep.cluster.search.packing import check_pack
from raysweep.cluster.search.recorder import RunRecorder
from raysweep.cluster.search.warm_start import earlier_results
from raysweep.core.errors import UserError
from raysweep.core.locks import exclusive
from raysweep.core.storage import Storage
from raysweep.core.targets import send_along
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.trial_files import BEST, STATE, trial_folder

__all__ = ["SearchResult", "run_search", "start"]


@dataclass(frozen=True)
class SearchResult:
    """A finished or interrupted search.

    Attributes:
        storage: the run's folder.
        ledger: every trial.
        dataset: the data, with what answers need.
        complete: whether every trial came to its end.
        interrupted: whether a signal ended it before.
        goal: what it had reached when it ended early (`--target`, `--patience`); empty otherwise.
    """

    storage: Storage
    ledger: Ledger
    dataset: Dataset
    complete: bool
    interrupted: bool = False
    goal: str = ""

    def as_run(self, request: SearchRequest) -> SavedRun:
        """The run, to be asked questions, with the data that are loaded already."""
        return SavedRun(
            self.storage, request, self.ledger, self.dataset.fingerprint, loaded=self.dataset
        )


def start(request: SearchRequest, options: RunOptions) -> SearchResult:
    """Runs a request in the folder that the options name; see `run_search`."""
    return run_search(request, options.folder(request), options)


def run_search(
    request: SearchRequest,
    storage: Storage,
    options: RunOptions | None = None,
    *,
    dataset: Dataset | None = None,
) -> SearchResult:
    """Runs a request, resumes it, or extends it: whatever the folder calls for.

    Args:
        request: what to search or to train, already `checked()`.
        storage: the run's folder.
        options: how to run it; its `name` and `storage` do not matter here.
        dataset: the data, if they are loaded already.

    Raises:
        UserError: the folder belongs to another request or to a search that is under way, the data
            are not usable, a trial or the workers of one fit on no node, or the storage failed.
    """
    options = options or RunOptions()
    learner = request.learner
    check_pack(request, options.pack, options.workers)
    if request.budget is not None and options.patience is not None:
        raise UserError(
            "--patience counts trials that ended, and --searcher curves pauses them until its "
            "--budget is used up; leave --patience out, or give a smaller --budget"
        )
    if request.budget is not None and options.pack not in ("auto", "off"):
        raise UserError(
            "--pack: --searcher curves decides for each trial alone; leave it out, or use "
            "--searcher tpe"
        )
    if options.workers > 1 and learner.splits == "no":
        raise UserError(f"{learner.name} trains in one process only; leave --workers out")

    def prepare() -> Dataset:
        loaded = dataset or learner.load_data(learner.data_class.create(request.data))
        if not _is_one_model(request, options):  # so that it is imported while Ray starts
            from raysweep.cluster.search import ray_tune  # noqa: F401
        return loaded

    new = not storage.exists(EXPERIMENT)
    with (
        exclusive(storage, f"the run {storage.uri}", "give this one another --name"),
        ray_started_beside(prepare, options.address, wanted=new) as loaded,
    ):
        Refusals(request, loaded.arrays).check()
        earlier: list[dict[str, Any]] = []
        curves: list[EarlierRun] = []
        if request.searcher == "curves":
            curves, notes = earlier_curves(request, storage, loaded.fingerprint)
        else:
            earlier, notes = earlier_results(request, storage, loaded.fingerprint)
        write_experiment(
            storage,
            request,
            loaded.fingerprint,
            loaded.description,
            earlier,
            changed_code=options.changed_code,
        )
        for note in [] if options.quiet else notes:
            print(note, file=sys.stderr)
        ledger = Ledger(
            storage,
            request.metric,
            request.mode,
            objectives=request.objectives,
            constraints=request.constraints,
        )
        deadline = Deadline(options.time_budget)
        remaining = _train(request, storage, options, loaded, ledger, deadline, earlier, curves)
        for note in [] if options.quiet else trust_notes(ledger, curves):
            print(note, file=sys.stderr)
        return _finish(request, storage, loaded, ledger, deadline, remaining)


def _train(
    request: SearchRequest,
    storage: Storage,
    options: RunOptions,
    dataset: Dataset,
    ledger: Ledger,
    deadline: Deadline,
    earlier: Sequence[Mapping[str, Any]],
    curves: Sequence[EarlierRun],
) -> int:
    """Trains what is left to train; returns how many trials are left after that."""
    trials: Any
    if _is_one_model(request, options):
        from raysweep.cluster.search.workers.ray_train import WorkerGroup

        trials = WorkerGroup(request, storage, options, dataset, ledger)
    else:
        from raysweep.cluster.search.ray_tune import TuneTrials

        trials = TuneTrials(request, storage, options, dataset, ledger, earlier, curves)
    if not trials.remaining():
        return 0
    goal = EarlyEnd(ledger, options.target, options.patience)
    if reached := goal.reached():
        deadline.succeed(reached)
        return int(trials.remaining())
    progress = Progress(
        request.num_samples,
        epochs=request.max_epochs,
        quiet=options.quiet,
        show_metric=options.show_metric,
    )
    recorder = RunRecorder(
        ledger, storage, progress, deadline, hparams=not request.points, goal=goal
    )
    progress.say("starting Ray …")
    with (
        contextlib.closing(progress),
        ray_session(options.address) as ray,
        stop_on_signal(deadline),
    ):
        send_along(ray.cloudpickle, request.task)
        require_resources(ray, request.cpus, request.gpus)
        require_workers(ray, options.workers, request.cpus, request.gpus)
        for warning in check_cluster(ray, storage.uri):
            progress.say(warning)
        trials.run(ray, recorder, deadline)
    return int(trials.remaining())


def _is_one_model(request: SearchRequest, options: RunOptions) -> bool:
    """Whether several processes train one configuration, which is Ray Train's work."""
    return options.workers > 1 and not request.searches and not request.points


def _finish(
    request: SearchRequest,
    storage: Storage,
    dataset: Dataset,
    ledger: Ledger,
    deadline: Deadline,
    remaining: int,
) -> SearchResult:
    """The end of every run, searched or trained: table, best checkpoint, vectors."""
    if deadline.problem:
        raise UserError(
            f"the run {storage.uri} cannot be written any more: {deadline.problem}. What was "
            "finished is kept; free some space or fix the storage, and run the same command"
        )
    if deadline.refusal and not ledger.ranked():
        raise UserError(deadline.refusal)
    _publish(storage, ledger)
    complete = not ledger.unfinished() and not (deadline.expired and remaining)
    goal = "" if complete else deadline.reached_goal
    result = SearchResult(storage, ledger, dataset, complete, deadline.signalled, goal)
    publish_embeddings(result.as_run(request))
    return result


def _publish(storage: Storage, ledger: Ledger) -> None:
    """Writes the table and copies the best trial's checkpoint to `best/`."""
    if not len(ledger):
        return
    blob = io.BytesIO()
    ledger.table().to_parquet(blob, index=False)
    storage.write(TRIALS_TABLE, blob.getvalue())
    for trial in ledger.ranked()[:1]:
        folder = storage / trial_folder(trial.index)
        with contextlib.suppress(FileNotFoundError):
            (storage / "best").write(BEST, folder.read(BEST))
        with contextlib.suppress(FileNotFoundError):
            state = json.loads(folder.read(STATE))["best"]
            _publish_checkpoint(folder, storage / "best", {"trial": trial.index, **state})


def _publish_checkpoint(folder: Storage, best: Storage, state: Mapping[str, Any]) -> None:
    """Copies the best checkpoint of the user's code; `state.json`, written last, says it is whole.

    Args:
        folder: of the trial.
        best: where to.
        state: the trial, the checkpoint's name, and the value and the report that it came with.
    """
    text = json.dumps(state)
    with contextlib.suppress(FileNotFoundError):
        if best.read(STATE).decode() == text:
            return
    best.remove_all()
    if checkpoint := state.get("checkpoint"):
        for name, _ in list((folder / checkpoint).files()):
            best.write(f"checkpoint/{name}", (folder / checkpoint).read(name))
    best.write(STATE, text)
