"""A search's trials under Ray Tune. It takes a second to import, so a search imports it late."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

from raysweep.cluster.machines.capacity import num_trial_slots, require_bundles
from raysweep.cluster.machines.session import RETRIES
from raysweep.cluster.runs.ledger import STOPPED, Ledger
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.cluster.search.curves.transfer import EarlierRun
from raysweep.cluster.search.curves.under_tune import CurveScheduler, CurveSearcher
from raysweep.cluster.search.deadline import Deadline
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.objectives.proposer import ParetoProposer
from raysweep.cluster.search.objectives.refusals import Refusals
from raysweep.cluster.search.packing import pack_size
from raysweep.cluster.search.proposers import (
    ListProposer,
    Point,
    Proposer,
    build_proposer,
    longest_first,
)
from raysweep.cluster.search.recorder import RunRecorder
from raysweep.cluster.search.schedulers import build_scheduler
from raysweep.cluster.search.tune_callback import DeadlineStopper, TuneCallback, UserCallbacks
from raysweep.cluster.search.warm_start import TriedFirst, WarmStart, recall
from raysweep.core.free_config import nest
from raysweep.core.storage import Storage
from raysweep.core.targets import sent
from raysweep.search_spaces import sample
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.pack import pack_key
from raysweep.trainables.ray_trainable import LearnerTrainable, PackTrainable
from raysweep.trainables.trial_files import INDEX
from raysweep.trainables.user.tune_task import TuneTask, bundles, resource_request

__all__ = ["TuneTrials", "concurrency"]


class TuneTrials:
    """The trials of a search, run to their ends by Ray Tune, or until the deadline.

    Args:
        request: the search, already `checked()`.
        storage: the run's folder; trials write their states there.
        options: `max_concurrent`, `pack` and `workers` count.
        dataset: its arrays go to every worker, by way of Ray's object store.
        ledger: the run's memory.
        earlier: results of earlier runs to start from; see `warm_start`.
        curves: the same for the searcher that reads curves.
    """

    def __init__(
        self,
        request: SearchRequest,
        storage: Storage,
        options: RunOptions,
        dataset: Dataset,
        ledger: Ledger,
        earlier: Sequence[Mapping[str, Any]] = (),
        curves: Sequence[EarlierRun] = (),
    ) -> None:
        self._request, self._storage, self._options = request, storage, options
        self._dataset = dataset
        refuses = Refusals(request, dataset.arrays)
        self._searcher: Any
        if request.searches and request.searcher == "curves":
            plan = _plan(request, ledger, refuses, curves)
            if plan.over() and not plan.under_way():
                plan.settle()
            self._searcher = CurveSearcher(plan)
            return
        proposer = _proposer(request, earlier, dataset, refuses)
        self._searcher = LedgerSearcher(
            ledger,
            proposer,
            request.complete,
            request.num_samples,
            refuses=refuses,
            default_first=request.has_default,
        )

    def remaining(self) -> int:
        """Trials to run from now on: interrupted ones and new ones."""
        return self._searcher.remaining()

    def run(self, ray: Any, recorder: RunRecorder, deadline: Deadline) -> None:
        """Runs the trials.

        Args:
            ray: the module, connected to a cluster.
            recorder: keeps the run's records.
            deadline: when to stop, and why.
        """
        request, searcher, options = self._request, self._searcher, self._options
        num_workers, most = options.workers, options.max_concurrent
        size = 1 if num_workers > 1 else pack_size(request, options.pack, self._dataset)
        searcher.limit = concurrency(ray, request, most, packs=size > 1, num_workers=num_workers)
        if searcher.pauses:
            size, searcher.limit = 1, max(1, searcher.limit)
        # Smaller packs where there would not be one for every place.
        searcher.pack_size = min(size, -(-searcher.remaining() // searcher.limit))
        searcher.pack_key = lambda fields: pack_key(request.learner, request.config(fields))
        # Ray would ask for the next trial only when the last one has started; so all start at once.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(searcher.limit)
        # Trials keep their own states. PBT copies Ray's, and HyperBand goes on from them.
        ray_states = request.searches and request.scheduler in ("pbt", "hyperband")
        ray_folder = self._storage / "ray"
        callback = TuneCallback(searcher, recorder, deadline)
        with tempfile.TemporaryDirectory(prefix="raysweep-") as scratch:
            run_config = tune.RunConfig(
                name="ray",
                storage_path=ray_folder.uri if ray_states else scratch,
                callbacks=[
                    callback,
                    *([UserCallbacks(options.callbacks)] if options.callbacks else []),
                ],
                stop=DeadlineStopper(deadline),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            )
            trainable = tune.with_resources(self._trainable(ray, ray_states), self._resources(ray))
            tune_config = self._tune_config(callback)
            tuner = tune.Tuner(trainable, tune_config=tune_config, run_config=run_config)
            try:
                tuner.fit()
                if searcher.pauses and not deadline.expired:
                    for trial in searcher.plan.paused():
                        recorder.end(trial, STOPPED)
                    searcher.plan.look(at_end=True)
            finally:
                if ray_states:
                    with contextlib.suppress(OSError):
                        ray_folder.remove_all()

    def _trainable(self, ray: Any, ray_states: bool) -> Any:
        request, num_workers = self._request, self._options.workers
        if issubclass(request.learner, TuneTask):
            from raysweep.trainables.user.tune_trainable import UserTrainable

            return tune.with_parameters(
                UserTrainable,
                code=sent(request.learner.trainable, request.task),
                run_uri=self._storage.uri,
                metric=request.metric,
                mode=request.mode,
                ray_states=ray_states,
                objectives=request.objectives,
                constraints=request.constraints,
            )
        shared: dict[str, Any] = {
            "learner_class": sent(request.learner, request.task),
            "arrays": dict(self._dataset.arrays),
            "run_uri": self._storage.uri,
            "metric": request.metric,
            "mode": request.mode,
            "threads": max(1, int(request.cpus)),
            "gpus": request.gpus,
            "ray_states": ray_states,
            "objectives": request.objectives,
            "constraints": request.constraints,
        }
        if num_workers > 1:
            from raysweep.cluster.search.workers.shared_trial import SharedTrainable

            return tune.with_parameters(
                SharedTrainable,
                shared=[ray.put(shared)],  # in a list, so that processes pass the reference on
                num_workers=num_workers,
                cpus=request.cpus,
            )
        packed = self._searcher.pack_size > 1
        return tune.with_parameters(PackTrainable if packed else LearnerTrainable, **shared)

    def _resources(self, ray: Any) -> Any:
        """What a trial needs: as the user's code says, or else as the request does.

        Raises:
            UserError: the cluster has not what the code asks for.
        """
        request = self._request
        if issubclass(request.learner, TuneTask):
            asked = resource_request(request.learner)
            point = sample(request.suggest(), request.seed)[1] if request.searches else {}
            needed = bundles(request.learner, request.config(point))
            require_bundles(ray, needed)
            if needed and callable(asked) and not isinstance(asked, tune.PlacementGroupFactory):
                asked = sent(asked, request.task)
                return lambda config: asked(nest({k: v for k, v in config.items() if k != INDEX}))
            if needed:
                return asked
        if self._options.workers == 1:
            return {"cpu": request.cpus, "gpu": request.gpus}
        # All places of a trial are taken at once, or none: no trial waits for another one's.
        place = {"CPU": self._request.cpus, "GPU": self._request.gpus}
        return tune.PlacementGroupFactory([place] * self._options.workers)

    def _tune_config(self, callback: TuneCallback) -> tune.TuneConfig:
        request = self._request
        scheduler: Any
        if self._searcher.pauses:
            scheduler = CurveScheduler(self._searcher, callback.note)
        else:
            scheduler = build_scheduler(
                request.scheduler if request.searches else "none",
                self._searcher.ledger,
                request.config({}),
                request.suggest(),
                grace_period=request.grace_period,
                reduction_factor=request.reduction_factor,
                seed=request.seed,
            )
        return tune.TuneConfig(
            metric=request.metric,
            mode=request.mode,
            search_alg=self._searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher says when there are no more
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        )


def _plan(
    request: SearchRequest,
    ledger: Ledger,
    refuses: Refusals,
    earlier: Sequence[EarlierRun],
) -> CurvePlan:
    suggest = request.suggest()
    first: list[Point] = []
    if request.has_default:
        config = request.complete({})
        params, _, fields = recall(suggest, config)
        first.append((params if fields is not None else {}, {}))
    for point in request.points_to_evaluate:
        params, _, fields = recall(suggest, {**request.complete(point), **point})
        first.append((params if fields is not None else {}, dict(point)))
    assert request.budget is not None
    return CurvePlan(
        ledger,
        suggest,
        request.seed,
        request.config({}).epochs,
        request.complete,
        budget=request.budget,
        until=request.until,
        num_samples=request.num_samples,
        first=first,
        refuses=refuses,
        deterministic=request.deterministic,
        earlier=earlier,
    )


def _proposer(
    request: SearchRequest,
    earlier: Sequence[Mapping[str, Any]],
    dataset: Dataset,
    refuses: Refusals,
) -> Proposer:
    if not request.searches:
        return ListProposer([({}, dict(point)) for point in request.points])
    suggest = request.suggest()
    objectives = [each.name for each in request.objectives]
    modes = [each.mode for each in request.objectives]
    proposer = build_proposer(request.searcher, suggest, request.seed, request.mode)
    if request.searcher == "tpe" and len(modes) > 1:
        proposer = ParetoProposer(suggest, request.seed, *modes)
    if isinstance(proposer, ListProposer):
        proposer = proposer.without(refuses)
    # TPE learns as it goes, and a scheduler compares trials in the order of proposals.
    fixed = request.searcher != "tpe" and request.scheduler == "none" and request.has_default
    if earlier:
        proposer = WarmStart(
            proposer, suggest, earlier, request.mode, objectives, request.constraints
        )
    elif fixed:

        def cost(fields: dict[str, Any]) -> float:
            config = request.config(fields)
            passes = config.stop_after or config.epochs
            return float(num_parameters(request.learner, config, dataset.arrays) * passes)

        proposer = longest_first(proposer, request.complete, cost, request.num_samples, refuses)
    if request.points_to_evaluate:
        proposer = TriedFirst(proposer, suggest, request)
    return proposer


def concurrency(
    ray: Any,
    request: SearchRequest,
    max_concurrent: int | None,
    *,
    packs: bool,
    num_workers: int = 1,
) -> int:
    """Trials at a time: what was asked for, or what fits and a few that wait for their turn.

    With too few waiting, Ray ends a worker whose trial is over where another trial could use it.
    Packs do not wait: a searcher learns nothing from what is proposed and has not started.

    Args:
        ray: the module, connected to a cluster.
        request: the search; a trial's CPUs and GPUs count.
        max_concurrent: as asked for; None for as many as the cluster holds.
        packs: whether several trials train in one process.
        num_workers: processes of one trial.
    """
    if max_concurrent is not None:
        return max_concurrent
    slots = max(1, num_trial_slots(ray, request.cpus, request.gpus) // num_workers)
    return slots if packs or request.searcher == "curves" else slots + min(slots, 4)


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.config['trial_index']:05d}"
