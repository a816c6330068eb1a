"""A trial of a search that several processes train: each takes its rows of every batch.

Ray Tune reserves the places of all of a trial's processes at once (a placement group with a bundle
for each), so trials never wait for each other's. Its process is the first of them: it starts an
actor in each of the other bundles, and they train in step (`trainables/parallel.py`). What is
written and reported is the first one's alone, as for any trial. If one of them is lost, the first
ends as well: Ray Tune then starts the trial again, from its last state.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raysweep.trainables.parallel import Parallel
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.trainer import Trainer, TrainingDivergedError
from raysweep.trainables.trial_files import INDEX

__all__ = ["SharedTrainable"]

_PATIENCE = timedelta(minutes=10)  # with another process's rows of a batch
_OUTCOMES_S = 60.0  # until the others have noticed that an epoch has failed


class SharedTrainable(LearnerTrainable):
    """The first process of a trial; see above.

    Besides a trial's configuration it takes, through `tune.with_parameters`: a list with a
    reference to what `LearnerTrainable.setup` takes (one copy a node, read in place), how many
    processes train, and the cores of each.
    """

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], shared: Sequence[Any], num_workers: int, cpus: float
    ) -> None:
        """Starts the other processes, and the first trial."""
        self._given = ray.get(shared[0])
        self._others: list[Any] = []
        self._start = partial(_start_others, shared, num_workers - 1, cpus, self._given["gpus"])
        self._form_group()
        super().setup(config, **self._given)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in the same processes, or in new ones if they have lost touch."""
        if self._apart:
            self._form_group()
        return super().reset_config(new_config)

    def _form_group(self) -> None:
        """Starts the other processes, in the place of those that there were."""
        self.cleanup()
        if dist.is_initialized():
            dist.destroy_process_group()
        self._apart = False
        self._others = self._start()
        self._parallel = _join_first(self._others, self._given["gpus"])

    def _start_learner(self, config: dict[str, Any]) -> None:
        values = {k: v for k, v in config.items() if k != INDEX}
        started = [other.begin.remote(values) for other in self._others]
        super()._start_learner(config)
        _outcomes(started)

    def _restore(self, state: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        super()._restore(state, header)
        sent = ray.put(dict(state))
        _outcomes([other.restore.remote(sent) for other in self._others])

    def _run_epoch(self) -> None:
        epochs = [other.run_epoch.remote() for other in self._others]
        threading.Thread(target=self._watch, args=(epochs,), daemon=True).start()
        try:
            super()._run_epoch()
        except OSError:  # of the storage, when the epoch was over
            raise
        except Exception as error:
            raise self._cause(error, epochs) from error

    def _cause(self, error: Exception, epochs: Sequence[Any]) -> Exception:
        """Why an epoch failed: an error of this process, or of another one, which it waited for."""
        self._apart = True  # The others may wait for this one; they end with it.
        if not _is_loss_of_touch(error):
            return error
        told = next(filter(None, _outcomes(epochs, _OUTCOMES_S)), "")
        return RuntimeError(told) if told else error

    def _watch(self, epochs: Sequence[Any]) -> None:
        """Ends a process that has failed, so that this one does not wait for its rows."""
        others = dict(zip(epochs, self._others, strict=True))
        left = list(epochs)
        while left:
            done, left = ray.wait(left)
            if any(_outcomes(done)):
                ray.kill(others[done[0]])

    def cleanup(self) -> None:
        """Ends the other processes."""
        for other in self._others:
            ray.kill(other)


class _Other:
    """An actor: one of the other processes of a trial."""

    def __init__(self, shared: Sequence[Any], rank: int) -> None:
        self._given, self._rank = ray.get(shared[0]), rank
        self._device = "cuda" if self._given["gpus"] else "cpu"
        torch.set_num_threads(self._given["threads"])

    def join(self, host: str, port: int, num_workers: int) -> None:
        """Joins the group of the trial's processes."""
        store = dist.TCPStore(host, port, num_workers, is_master=False, timeout=_PATIENCE)
        self._parallel = _join(store, self._rank, num_workers, self._given["gpus"])

    def begin(self, values: dict[str, Any]) -> None:
        """Builds the model of another trial; raises what the learner raises."""
        learner_class = self._given["learner_class"]
        config = learner_class.config_class.create(values)
        self._learner = learner_class(config, self._given["arrays"], self._device)
        self._trainer = Trainer(self._learner, self._parallel)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from the trial's last state."""
        self._learner.load_state_dict(state)

    def run_epoch(self) -> str:
        """Trains its rows of an epoch; returns why it could not, or nothing."""
        try:
            self._trainer.run_epoch()
        except TrainingDivergedError:  # in all processes, so that the first one tells
            return ""
        except Exception as error:
            return "" if _is_loss_of_touch(error) else f"{type(error).__name__}: {error}"
        return ""


def _start_others(shared: Sequence[Any], count: int, cpus: float, gpus: float) -> list[Any]:
    """Actors in all bundles of this trial's placement group but the first, which is its own."""
    group = ray.util.get_current_placement_group()
    actor = ray.remote(_Other)
    return [
        actor.options(
            num_cpus=cpus,
            num_gpus=gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=rank
            ),
        ).remote(list(shared), rank)
        for rank in range(1, count + 1)
    ]


def _join_first(others: Sequence[Any], gpus: float) -> Parallel:
    """Makes the group of the trial's processes, as its first one."""
    host, count = ray.util.get_node_ip_address(), len(others) + 1
    store = dist.TCPStore(host, 0, count, is_master=True, wait_for_workers=False, timeout=_PATIENCE)
    joined = [other.join.remote(host, store.port, count) for other in others]
    parallel = _join(store, 0, count, gpus)
    _outcomes(joined)
    return parallel


def _join(store: Any, rank: int, num_workers: int, gpus: float) -> Parallel:
    dist.init_process_group(
        "nccl" if gpus else "gloo",
        store=store,
        rank=rank,
        world_size=num_workers,
        timeout=_PATIENCE,
    )
    return Parallel()


def _outcomes(references: Sequence[Any], timeout: float | None = None) -> list[Any]:
    """What the others return. If one of them is gone, this process ends: Ray Tune sees one loss."""
    try:
        return list(ray.get(list(references), timeout=timeout))
    except (RayActorError, GetTimeoutError):
        os._exit(1)


def _is_loss_of_touch(error: Exception) -> bool:
    """Whether another process stopped answering; PyTorch has no type for it between CPUs."""
    return isinstance(error, dist.DistBackendError) or "gloo" in str(error)
