"""Ray Tune: every call of it is here. It takes a second to import, so a search imports it late."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any

from ray import tune

from raysweep.cluster.machines.capacity import num_trial_slots
from raysweep.cluster.machines.session import RETRIES
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.recorder import Deadline, RunCallback
from raysweep.cluster.search.schedulers import build_scheduler
from raysweep.core.storage import Storage
from raysweep.trainables.learner import Dataset
from raysweep.trainables.ray_trainable import LearnerTrainable, PackTrainable

__all__ = ["Deadline", "LedgerSearcher", "RunCallback", "concurrency", "run_trials"]


def run_trials(
    request: SearchRequest,
    storage: Storage,
    dataset: Dataset,
    searcher: LedgerSearcher,
    callback: RunCallback,
    deadline: Deadline,
) -> None:
    """Runs the searcher's trials to their ends, or until the deadline.

    Args:
        request: the search, already `checked()`.
        storage: the run's folder; trials write their states there.
        dataset: its arrays go to every worker, by way of Ray's object store.
        searcher: proposes, and keeps the ledger.
        callback: hears of every result, and writes what the run shows.
        deadline: when to stop, and why.
    """
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


def concurrency(
    ray: Any, request: SearchRequest, max_concurrent: int | None, *, packs: bool
) -> int:
    """Trials at a time: what was asked for, or what fits and a few that wait for their places.

    With too few waiting, Ray ends a worker whose trial is over where another trial could use it.
    Packs do not wait: a searcher learns nothing from what is proposed and has not started.

    Args:
        ray: the module, connected to a cluster.
        request: the search; a trial's CPUs and GPUs count.
        max_concurrent: as asked for; None for as many as the cluster holds.
        packs: whether several trials train in one process.
    """
    if max_concurrent is not None:
        return max_concurrent
    places = num_trial_slots(ray, request.cpus, request.gpus)
    return places if packs else places + min(places, 4)


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.config['trial_index']:05d}"
