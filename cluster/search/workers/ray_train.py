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
from typing import Any

from raysweep.cluster.machines.session import RETRIES, beside_driver
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.deadline import Deadline
from raysweep.cluster.search.recorder import RunRecorder
from raysweep.core.storage import Storage
from raysweep.core.targets import sent
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.trainer import TrainingDivergedError
from raysweep.trainables.trial_files import INDEX

__all__ = ["WorkerGroup"]

_POLL_S = 0.1
_LAST_EPOCH_S = 60.0  # how long a stopped run waits for the epoch under way


class WorkerGroup:
    """Processes that train one configuration together, or go on with it.

    The number of workers is not part of the request: a run may go on with another number.

    Args:
        request: one configuration, already `checked()`; its cpus and gpus are those of a worker.
        storage: the run's folder, which every worker must reach.
        options: `workers` counts.
        dataset: its arrays go to every worker, one copy a node.
        ledger: the run's memory; trial 0 is the one that is trained.
    """

    def __init__(
        self,
        request: SearchRequest,
        storage: Storage,
        options: RunOptions,
        dataset: Dataset,
        ledger: Ledger,
    ) -> None:
        self._request, self._storage, self._dataset = request, storage, dataset
        self._num_workers, self._ledger = options.workers, ledger
        if not len(ledger):
            ledger.add({}, request.config({}).to_dict())

    def remaining(self) -> int:
        """1 while the trial has epochs to run."""
        return len(self._ledger.unfinished())

    def run(self, ray: Any, recorder: RunRecorder, deadline: Deadline) -> None:
        """Trains until the end or the deadline."""
        from ray import train
        from ray.train.torch import TorchTrainer

        logging.getLogger("ray.train").setLevel(logging.ERROR)
        # Beside the driver: on a node that comes and goes it would take reports with it.
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=beside_driver(ray))(_Mailbox).remote()
        request = self._request
        # Ray Train wants a folder that all workers reach, if only to see that they do.
        ray_folder = self._storage / "ray"
        try:
            trainer = TorchTrainer(
                _work,
                train_loop_config=self._job(ray, mailbox),
                scaling_config=train.ScalingConfig(
                    num_workers=self._num_workers,
                    use_gpu=request.gpus > 0,
                    resources_per_worker={"CPU": request.cpus, "GPU": request.gpus},
                ),
                run_config=train.RunConfig(
                    name="ray",
                    storage_path=ray_folder.uri,
                    failure_config=train.FailureConfig(max_failures=RETRIES),
                ),
            )
            self._watch(ray, trainer, mailbox, recorder, deadline)
        finally:
            with contextlib.suppress(OSError):
                ray_folder.remove_all()

    def _job(self, ray: Any, mailbox: Any) -> dict[str, Any]:
        """What every worker is given."""
        request = self._request
        return {
            "mailbox": mailbox,
            # A reference: each node gets one copy, which its workers read in place.
            "arrays": ray.put(dict(self._dataset.arrays)),
            "config": {**request.config({}).to_dict(), INDEX: 0},
            "setup": {
                "learner_class": sent(request.learner, request.task),
                "run_uri": self._storage.uri,
                "metric": request.metric,
                "mode": request.mode,
                "threads": max(1, int(request.cpus)),
                "gpus": request.gpus,
            },
        }

    def _watch(
        self, ray: Any, trainer: Any, mailbox: Any, recorder: RunRecorder, deadline: Deadline
    ) -> None:
        """Records what arrives until the training is over, or stops it after an epoch."""
        errors: list[Exception] = []

        def fit() -> None:
            try:
                trainer.fit()
            except Exception as error:
                errors.append(error)

        trial = self._ledger.trials[0]
        recorder.start(trial)
        # In a thread of its own, so that Ray leaves the handling of Ctrl-C to the run.
        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        until = float("inf")
        while thread.is_alive() and time.monotonic() < until:
            if deadline.reached() and until == float("inf"):
                until = time.monotonic() + _LAST_EPOCH_S
                ray.get(mailbox.stop.remote())
            self._record(ray, mailbox, recorder)
            thread.join(_POLL_S)
        self._record(ray, mailbox, recorder)
        if errors and not deadline.expired:
            recorder.fail(trial, str(errors[0]) or type(errors[0]).__name__)
        recorder.close()

    def _record(self, ray: Any, mailbox: Any, recorder: RunRecorder) -> None:
        for report in ray.get(mailbox.take.remote()):
            recorder.result(self._ledger.trials[0], report)
        recorder.refresh()


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

    _parallel: Parallel

    def __init__(self, config: dict[str, Any], **setup: Any) -> None:
        self._parallel = Parallel()
        self.setup(config, **setup)

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
