"""The second stage of making features: computing them with the network and writing a shard.

A plain class of arrays; Ray Data runs it in a pool of processes (`ray_data`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.backbones import Preprocessing, normalised
from raysweep.data.features.shards import Rows, write_shard

__all__ = ["BackboneStage", "PartDone"]

_BATCH = {"cpu": 8, "cuda": 64}
# Bytes that the widest layer of a batch may take on a CPU, so that its output stays in the cache:
# VGG16 makes 4 images at a time 4% faster than 8, EfficientNet-Lite0 8 at a time 8% faster than 4.
_WIDEST_BYTES = 28 << 20


@dataclass(frozen=True, kw_only=True)
class PartDone:
    """One finished part, and what took how long.

    Attributes:
        name: of the shard.
        images: number of images, the unreadable ones included.
        quarantined: number of images that could not be read.
        decode_s: seconds that a task took to read and decode them.
        wait_s: seconds that the actor waited for this part.
        backbone_s: seconds in the network.
        write_s: seconds of writing the shard.
        processor_s: seconds of processor time of all stages together.
        started: when the actor's work began, in seconds since 1970.
        ended: when it ended, in seconds since 1970.
    """

    name: str
    images: int
    quarantined: int
    decode_s: float
    wait_s: float
    backbone_s: float
    write_s: float
    processor_s: float
    started: float
    ended: float


class BackboneStage:
    """A process that holds the network, computes features of whole parts and writes their shards.

    Args:
        body: computes features [n, *feature_shape] of normalised images [n, 3, size, size].
        preprocessing: its mean and std normalise the images.
        dtype: type that the body computes in.
        threads: number of threads on the CPU.
        uri: the folder of features.
        key: the job's; written into every shard.
        variants: which variants there are of the images of each split; see `shards.Rows`.
        device: `cpu` or `cuda`; a process may see GPUs that are not its own.
    """

    def __init__(
        self,
        body: torch.nn.Module,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        threads: int,
        uri: str,
        key: str,
        variants: Mapping[str, tuple[int, ...]],
        device: str = "cpu",
    ) -> None:
        self._device = torch.device(device)
        self._body = body.to(self._device).eval()
        self._preprocessing, self._dtype, self._threads = preprocessing, dtype, threads
        self._storage, self._key, self._variants = Storage(uri), key, variants
        self._one_at_a_time = threading.Lock()
        self._idle_since: float | None = None
        size = preprocessing.resize.size
        widest = self._widest(np.zeros((1, size, size, 3), np.uint8))  # also builds the kernels
        self._batch_size = _BATCH[self._device.type]
        if self._device.type == "cpu":
            self._batch_size = max(1, min(self._batch_size, _WIDEST_BYTES // widest))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Computes the features of one part and writes its shard.

        Args:
            batch: what `decode_part` returned, of one part: arrays by name, each [m, …].

        Returns:
            One row: the fields of `PartDone`.

        Raises:
            UserError: a feature is not finite, or too large for float16.
            RuntimeError: the batch is not exactly one part.
        """
        names = set(batch["name"].tolist())
        if len(names) != 1 or len(batch["id"]) != batch["count"][0]:
            raise RuntimeError(f"Ray Data cut or joined parts: {names}, {len(batch['id'])} images")
        (name,) = names
        split = str(batch["split"][0])
        variants = np.array(self._variants[split], np.int16)
        good = np.flatnonzero(batch["reason"] == "")
        with self._one_at_a_time:
            started, clock, processor = time.time(), time.perf_counter(), time.process_time()
            waited = 0.0 if self._idle_since is None else clock - self._idle_since
            features = self._features(batch["pixels"], good)
            computed = self._idle_since = time.perf_counter()
        rows = Rows(
            features=features,
            labels=np.repeat(batch["label"][good], len(variants)),
            heights=np.repeat(batch["height"][good], len(variants)),
            widths=np.repeat(batch["width"][good], len(variants)),
            ids=[str(name) for name in np.repeat(batch["id"][good], len(variants))],
            variants=np.tile(variants, len(good)),
        )
        bad = [
            {"id": str(batch["id"][n]), "reason": str(batch["reason"][n])}
            for n in np.flatnonzero(batch["reason"] != "")
        ]
        try:
            write_shard(self._storage, name, rows, split, {"key": self._key, "quarantined": bad})
        except ValueError as error:
            raise UserError(f"{error}; use other weights or another network") from None
        written = time.perf_counter()
        if self._device.type == "cpu":  # one call at a time: writing is work, too
            self._idle_since = written
        done = PartDone(
            name=name,
            images=len(batch["id"]),
            quarantined=len(bad),
            decode_s=float(batch["decode_s"][0]),
            wait_s=waited,
            backbone_s=computed - clock,
            write_s=written - computed,
            processor_s=float(batch["processor_s"][0]) + time.process_time() - processor,
            started=started,
            ended=time.time(),
        )
        return {field: [value] for field, value in vars(done).items()}

    def _features(self, pixels: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Features of all variants of the images at positions `good`: float16 [rows, …]."""
        variants, step = pixels.shape[1], self._batch_size
        if not len(good):
            shape = self._forward(np.zeros((1, *pixels.shape[2:]), np.uint8)).shape[1:]
            return np.zeros((0, *shape), np.float16)
        torch.set_num_threads(self._threads)  # a setting of each thread
        flat = pixels.reshape(-1, *pixels.shape[2:])
        rows = (good[:, None] * variants + np.arange(variants)).reshape(-1)
        parts = np.array_split(rows, max(1, round(len(rows) / step)))
        results = [self._forward(flat[rows]) for rows in parts]
        return np.concatenate([part.to(torch.float16).cpu().numpy() for part in results])

    def _widest(self, pixels: np.ndarray) -> int:
        """Bytes of the largest output of a layer."""
        sizes = [1]

        def note(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            sizes.append(output.nbytes if isinstance(output, torch.Tensor) else 1)

        hooks = [module.register_forward_hook(note) for module in self._body.modules()]
        self._forward(pixels)
        for hook in hooks:
            hook.remove()
        return max(sizes)

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(pixels).to(self._device)
        features: torch.Tensor = self._body(normalised(images, self._preprocessing, self._dtype))
        return features
