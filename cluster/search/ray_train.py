"""One model trained by several processes with Ray Train; the run looks as if one had done it.

Every worker takes its rows of each batch and makes the same step (`trainables/parallel.py`). The
first one writes the trial's state after each epoch, as a trial of a search does, and reports to the
driver, which keeps ledger and TensorBoard. A group of workers that lost one starts again from the
last epoch.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from types import SimpleNamespace
from typing import Any

from raysweep.cluster.machines.capacity import num_trial_slots, require_resources
from raysweep.cluster.machines.preflight import check_cluster
from raysweep.cluster.machines.session import (
    RETRIES,
    beside_driver,
    ray_session,
    ray_started_beside,
)
from raysweep.cluster.runs.ledger import FAILED, RUNNING, Ledger
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.runs.projector import publish_embeddings
from raysweep.cluster.runs.request import EXPERIMENT, SearchRequest, write_experiment
from raysweep.cluster.search.recorder import Deadline, RunCallback
from raysweep.cluster.search.run import SearchResult, publish, stop_on_signal
from raysweep.core.errors import UserError
from raysweep.core.locks import exclusive
from raysweep.core.storage import Storage
from raysweep.trainables.learner import Dataset, TrainingDivergedError
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.trial_files import INDEX

__all__ = ["run_data_parallel"]

_POLL_S = 0.1
_LAST_EPOCH_S = 60.0  # how long a stopped run waits for the epoch under way


def run_data_parallel(
    request: SearchRequest,
    storage: Storage,
    workers: int,
    *,
    dataset: Dataset | None = None,
    address: str | None = None,
    quiet: bool = False,
) -> SearchResult:
    """Trains one configuration with several processes, or goes on with it.

    The number of workers is not part of the request: a run may go on with another number.

    Args:
        request: one configuration, already `checked()`; its cpus and gpus are those of a worker.
        storage: the run's folder, which every worker must reach.
        workers: how many processes.
        dataset: the data, if they are loaded already.
        address: a Ray cluster; None for this machine.
        quiet: no progress line.

    Raises:
        UserError: the family trains in one process only, the folder belongs to another request,
            the data are not usable, or the workers do not fit on the machines.
    """
    learner = request.learner
    if learner.splits == "no":
        raise UserError(f"{learner.name} trains in one process only; leave --workers out")

    def load() -> Dataset:
        return dataset or learner.load_data(learner.data_class.create(request.data))

    with (
        exclusive(storage, f"the run {storage.uri}", "give this one another --name"),
        ray_started_beside(load, address, wanted=not storage.exists(EXPERIMENT)) as dataset,
    ):
        write_experiment(storage, request, dataset.fingerprint, dataset.description)
        ledger = Ledger(storage, request.metric, request.mode)
        if not len(ledger):
            ledger.add({}, request.config({}).to_dict())
        deadline = Deadline(None)
        if ledger.trials[0].status == RUNNING:
            progress = Progress(1, quiet=quiet)
            callback = RunCallback(SimpleNamespace(ledger=ledger), storage, progress, deadline)  # type: ignore[arg-type]
            progress.say("starting Ray …")
            with (
                contextlib.closing(progress),
                ray_session(address) as ray,
                stop_on_signal(deadline),
            ):
                _require_workers(ray, request, workers)
                for worry in check_cluster(ray, storage.uri):
                    progress.say(worry)
                _train(
                    ray, request, storage, dataset, workers, _Records(callback, ledger, deadline)
                )
        if deadline.problem:
            raise UserError(
                f"the run {storage.uri} cannot be written any more: {deadline.problem}. What was "
                "finished is kept; free some space or fix the storage, and run the same command"
            )
        publish(storage, ledger)
        result = SearchResult(storage, ledger, dataset, not ledger.unfinished(), deadline.signalled)
        publish_embeddings(result.as_run(request))
    return result


class _Records:
    """What the driver keeps of the one trial, through the same callback as a search's trials."""

    def __init__(self, callback: RunCallback, ledger: Ledger, deadline: Deadline) -> None:
        self.callback, self.ledger, self.deadline = callback, ledger, deadline
        config = {**ledger.trials[0].config, INDEX: 0}
        self._trial = SimpleNamespace(config=config, trial_id="0")
        callback.on_trial_start(0, [], self._trial)

    def keep(self, results: list[dict[str, Any]]) -> None:
        """Writes down what the workers reported."""
        for result in results:
            self.callback.on_trial_result(0, [], self._trial, result)
        self.callback.on_step_end(0, [])

    def fail(self, error: Exception) -> None:
        """Writes down that the workers could not be kept alive."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if self.ledger.trials[0].status == RUNNING:
            self.ledger.end(0, FAILED, lines[-1].strip())

    def close(self) -> None:
        """Closes what is open."""
        self.callback.on_experiment_end([])


def _require_workers(ray: Any, request: SearchRequest, workers: int) -> None:
    """Refuses workers that will never have a place at the same time: Ray would wait for ever."""
    require_resources(ray, request.cpus, request.gpus)
    found = num_trial_slots(ray, request.cpus, request.gpus)
    if workers > found:
        raise UserError(
            f"--workers {workers} with {request.cpus:g} CPU and {request.gpus:g} GPU each do not "
            f"fit: there are places for {found}; use fewer workers, or a larger cluster"
        )


def _train(
    ray: Any,
    request: SearchRequest,
    storage: Storage,
    dataset: Dataset,
    workers: int,
    records: _Records,
) -> None:
    """Every call of Ray Train is here and in `_work`."""
    from ray import train
    from ray.train.torch import TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    # Beside the driver: on a node that comes and goes it would take reports with it.
    mailbox = ray.remote(num_cpus=0, scheduling_strategy=beside_driver(ray))(_Mailbox).remote()
    job = {
        "mailbox": mailbox,
        # A reference: each node gets one copy, which its workers read in place.
        "arrays": ray.put(dict(dataset.arrays)),
        "config": {**request.config({}).to_dict(), INDEX: 0},
        "setup": {
            "learner_class": request.learner,
            "run_uri": storage.uri,
            "metric": request.metric,
            "mode": request.mode,
            "threads": max(1, int(request.cpus)),
            "gpus": request.gpus,
        },
    }
    # Ray Train wants a folder that all workers reach, if only to see that they do.
    ray_folder = storage / "ray"
    try:
        trainer = TorchTrainer(
            _work,
            train_loop_config=job,
            scaling_config=train.ScalingConfig(
                num_workers=workers,
                use_gpu=request.gpus > 0,
                resources_per_worker={"CPU": request.cpus, "GPU": request.gpus},
            ),
            run_config=train.RunConfig(
                name="ray",
                storage_path=ray_folder.uri,
                failure_config=train.FailureConfig(max_failures=RETRIES),
            ),
        )
        _watch(ray, trainer, mailbox, records)
    finally:
        with contextlib.suppress(OSError):
            ray_folder.remove_all()


def _watch(ray: Any, trainer: Any, mailbox: Any, records: _Records) -> None:
    """Keeps what arrives until the training is over, or stops it after an epoch."""
    errors: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:
            errors.append(error)

    # In a thread of its own, so that Ray leaves the handling of Ctrl-C to the run.
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    until = float("inf")
    while thread.is_alive() and time.monotonic() < until:
        if records.deadline.expired and until == float("inf"):
            until = time.monotonic() + _LAST_EPOCH_S
            ray.get(mailbox.stop.remote())
        records.keep(ray.get(mailbox.take.remote()))
        thread.join(_POLL_S)
    records.keep(ray.get(mailbox.take.remote()))
    if errors and not records.deadline.expired:
        records.fail(errors[0])
    records.close()


class _Mailbox:
    """An actor: the first worker's reports on their way to the driver."""

    def __init__(self) -> None:
        self._results: list[dict[str, Any]] = []
        self._stopped = False

    def put(self, result: dict[str, Any]) -> bool:
        """Takes a report; returns whether the run is to stop."""
        self._results.append(result)
        return self._stopped

    def take(self) -> list[dict[str, Any]]:
        """All that has arrived since the last call."""
        results, self._results = self._results, []
        return results

    def stop(self) -> None:
        """Asks the workers to stop after their epoch."""
        self._stopped = True


class _Worker(LearnerTrainable):
    """A trial's steps, with the other workers; Ray Tune has no part in it."""

    def __init__(self, config: dict[str, Any], **setup: Any) -> None:
        from raysweep.trainables.parallel import Parallel

        self._parallel = Parallel()
        self.setup(config, **setup)

    def _start_learner(self, config: dict[str, Any]) -> None:
        super()._start_learner(config)
        self._learner.train_in_parallel(self._parallel)

    def _save(self, name: str, state: Any) -> None:
        if self._parallel.rank == 0:
            super()._save(name, state)

    def agree(self) -> None:
        """Raises RuntimeError unless every worker starts at the same epoch."""
        epochs = self._parallel.gather(self._learner.epoch)
        if len(set(epochs)) > 1:
            raise RuntimeError(
                f"the workers start at different epochs ({epochs}): the run's folder is not "
                "reached by every machine; use storage that all of them share"
            )


def _work(job: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray

    worker = _Worker(job["config"], arrays=ray.get(job["arrays"]), **job["setup"])
    if worker._failure is None and worker._storage_failure is None:
        worker.agree()
    over = False
    while not over:
        result = worker.step()
        failure = result.get("failure", "")
        # A diverged loss is every worker's; anything else is this one's, and Ray starts all anew.
        if failure and not failure.startswith(TrainingDivergedError.__name__):
            raise RuntimeError(failure)
        stop = False
        if worker._parallel.rank == 0:
            stop = ray.get(job["mailbox"].put.remote(result))
        over = any(worker._parallel.gather(int(result["done"] or stop)))
