"""Makes features of images with Ray Data; the only file of `data` that uses Ray.

    list of images → read and decode (tasks on CPUs) → backbone (a pool of actors, on GPUs if there
    are any) → shards

A block of Ray Data is one part of the job (see `job`) from its file names to its shard: no step
cuts or joins blocks, so a part is decoded by one task and written by one call of an actor. When a
worker dies, Ray gives its parts to others. When a node dies, the work is divided again among the
nodes that are left. When the command dies, its next run makes the parts that are missing.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from raysweep.core.errors import UserError
from raysweep.core.ray_private import execution_callback
from raysweep.data.features.backbone_stage import BackboneStage, PartDone
from raysweep.data.features.backbones import Backbone
from raysweep.data.features.decode_stage import decode_part
from raysweep.data.features.job import FeatureJob, Part, remaining

__all__ = ["PartDone", "Workers", "make_features", "plan_workers"]

# A process with PyTorch, a network and its activations, generously.
_ACTOR_BYTES = 1.5 * 2**30
_LOOK_AT_NODES_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many processes do what, and with which resources.

    Attributes:
        num_actors: processes with a backbone.
        gpus: GPUs of each actor; 0 or 1.
        cpus: CPUs that Ray reserves for each actor, may be a fraction.
        threads: of each actor, on the CPU.
        num_decoders: decoding tasks at a time, at most.
        decoder_cpus: CPUs that Ray reserves for each decoding task.
    """

    num_actors: int
    gpus: int
    cpus: float
    threads: int
    num_decoders: int
    decoder_cpus: float


def plan_workers(nodes: list[Mapping[str, float]], gpus: int | None = None) -> Workers:
    """Divides a cluster: an actor for each GPU; without any, one for each core.

    The threads of one network wait for each other after every layer: on a processor that also
    decodes, one network with two threads was measured to be five times slower than two networks
    with a thread each. So every core gets a network of its own, as far as memory goes, and decoding
    has a lower priority than all of them.

    Args:
        nodes: resources of each living node, e.g. `{"CPU": 8, "GPU": 1, "memory": 3e10}` (memory in
            bytes).
        gpus: number of GPUs to use, those that an autoscaler will add included; by default as many
            as the nodes have.

    Raises:
        UserError: there is no node with a CPU.
    """
    nodes = [node for node in nodes if node.get("CPU", 0.0) > 0]
    if not nodes:
        raise UserError("no node of the cluster has a CPU to decode images with; add one")
    cores = sum(node["CPU"] for node in nodes)
    num_gpus = int(sum(node.get("GPU", 0.0) for node in nodes)) if gpus is None else gpus
    if num_gpus:
        share = 1.0 if cores >= 2 * num_gpus else 0.25
        decoders = max(1, int(cores - share * num_gpus))
        return Workers(
            num_actors=num_gpus,
            gpus=1,
            cpus=share,
            threads=1,
            num_decoders=decoders,
            decoder_cpus=min(1.0, (cores - share * num_gpus) / decoders),
        )
    least = min(node["CPU"] for node in nodes)
    memory = min(node.get("memory", float("inf")) for node in nodes)
    actors = int(max(1, min(least, memory // _ACTOR_BYTES)))
    decoders = max(1, int(least) // 2)
    return Workers(
        num_actors=actors * len(nodes),
        gpus=0,
        cpus=least / 2 / actors,
        threads=max(1, int(least) // actors),
        num_decoders=decoders * len(nodes),
        decoder_cpus=min(1.0, least / 2 / decoders),
    )


def make_features(
    job: FeatureJob,
    backbone: Backbone,
    gpus: int | None = None,
    on_done: Callable[[PartDone], None] = lambda done: None,
) -> None:
    """Makes all pending parts of a job on the Ray cluster to which this process is connected.

    Args:
        job: from `open_job`.
        backbone: the one that the job was opened with.
        gpus: see `plan_workers`.
        on_done: called after each part, in the order in which they are finished.

    Raises:
        UserError: images cannot be read, features cannot be written, features are not finite, or
            the cluster has no node with a CPU (any more).
    """
    import ray

    while job.pending:
        workers = plan_workers([node["Resources"] for node in ray.nodes() if node["Alive"]], gpus)
        try:
            _make_parts(job, backbone, workers, on_done)
            return
        except _NodeLostError:
            job = remaining(job)


class _NodeLostError(Exception):
    """A node died. Its backbones would crowd out the decoding elsewhere, or wait for its GPUs."""


def _watch_nodes() -> Any:
    """A callback of Ray Data, as a class, that raises `_NodeLostError` when a node died."""
    import ray

    base: Any = execution_callback()

    class NodeWatch(base):
        def before_execution_starts(self, executor: Any) -> None:
            self._nodes, self._looked = self._alive(), time.monotonic()

        def on_execution_step(self, executor: Any) -> None:
            if time.monotonic() - self._looked < _LOOK_AT_NODES_S:
                return
            self._looked = time.monotonic()
            if self._nodes - self._alive():
                raise _NodeLostError

        @staticmethod
        def _alive() -> set[str]:
            return {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    return NodeWatch


def _make_parts(
    job: FeatureJob,
    backbone: Backbone,
    workers: Workers,
    on_done: Callable[[PartDone], None],
) -> None:
    """Makes all pending parts of a job with the nodes that there are now."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # importing it has set another
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [_watch_nodes()]
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=_object_store_bytes(job, workers)
    )
    body = copy.deepcopy(backbone.body).to(_dtype(job)).to(memory_format=torch.channels_last)
    variants = {part.split: part.variants for part in job.parts}
    with DataContext.current(context):
        dataset = ray.data.from_arrow([_table(job, part) for part in job.pending])
        decoded = dataset.map_batches(
            decode_part,
            batch_size=None,
            batch_format="numpy",
            compute=TaskPoolStrategy(size=min(workers.num_decoders, len(job.pending))),
            # Ray Data would join two stages of the same resources into one.
            num_cpus=round(0.99 * workers.decoder_cpus, 4),
            fn_kwargs={
                "root": job.images.root,
                "resize": job.preprocessing.resize,
                "augmentation": job.request.augmentation,
                "seed": job.request.seed,
                "variants": variants,
                "nice": not workers.gpus,
            },
        )
        pool = ActorPoolStrategy(
            size=min(workers.num_actors, len(job.pending)),
            # While one call waits for the storage, another computes on the GPU.
            max_concurrent_calls_per_actor=2 if workers.gpus else 1,
            enable_true_multi_threading=bool(workers.gpus),
            max_tasks_in_flight_per_actor=3 if workers.gpus else 2,
        )
        results = decoded.map_batches(
            _BackboneActor,
            batch_size=None,
            batch_format="numpy",
            compute=pool,
            num_cpus=workers.cpus,
            num_gpus=workers.gpus or None,
            fn_constructor_kwargs={
                "body": ray.put(body),
                "preprocessing": job.preprocessing,
                "dtype": _dtype(job),
                "threads": workers.threads,
                "uri": job.storage.uri,
                "key": job.key,
                "variants": variants,
                "device": "cuda" if workers.gpus else "cpu",
            },
        )
        with _plain_errors():
            # Without prefetching each row comes as soon as its part is done.
            for block in results.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for row in block.to_pylist():
                    on_done(PartDone(**row))


class _BackboneActor(BackboneStage):
    """A `BackboneStage` whose network comes out of the object store, not with every call."""

    def __init__(self, body: Any, **others: Any) -> None:
        import ray

        super().__init__(ray.get(body), **others)


def _dtype(job: FeatureJob) -> torch.dtype:
    return torch.bfloat16 if job.request.precision == "bfloat16" else torch.float32


def _table(job: FeatureJob, part: Part) -> pa.Table:
    """A part as a block of Ray Data."""
    count = len(part.positions)
    return pa.table(
        {
            "name": [part.name] * count,
            "split": [part.split] * count,
            "count": [count] * count,
            "id": [job.images.ids[position] for position in part.positions],
            "label": pa.array(job.images.labels[part.positions], pa.int32()),
        }
    )


def _object_store_bytes(job: FeatureJob, workers: Workers) -> int:
    """Decoded parts that may wait: enough to keep everybody busy, however many images there are.

    Without a limit Ray Data decodes ahead until a good part of the memory is full.
    """
    largest = max(part.rows for part in job.parts) * 3 * job.preprocessing.resize.size**2
    return largest * (2 * workers.num_decoders + 3 * workers.num_actors)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Finds the user's error under what Ray wraps around it."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            for candidate in (cause, getattr(cause, "cause", None)):
                if isinstance(candidate, UserError | OSError):
                    raise UserError(str(candidate)) from None
            cause = cause.__cause__ or cause.__context__
        raise
