"""`raysweep features` from end to end: images, backbone, Ray, shards, progress and result."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from raysweep.cluster.machines.preflight import check_cluster
from raysweep.cluster.machines.session import ray_session
from raysweep.cluster.runs.progress import StatusLine, clock
from raysweep.core.errors import UserError
from raysweep.core.locks import exclusive
from raysweep.core.storage import Storage
from raysweep.data.features.backbone_stage import PartDone
from raysweep.data.features.backbones import Backbone, load_backbone
from raysweep.data.features.check import class_positions, top1
from raysweep.data.features.job import FeatureRequest, finish, open_job
from raysweep.data.features.shard_index import ShardIndex
from raysweep.data.images.lists import list_images
from raysweep.data.sources.catalogue import known_datasets
from raysweep.data.sources.fetch import fetch

__all__ = ["FeatureResult", "Tally", "run_features"]


@dataclass
class Tally:
    """Sums over the parts that are finished so far; see `PartDone` for the fields.

    Attributes:
        images: number of images.
        quarantined: number of images that could not be read.
        decode_s: seconds of reading and decoding.
        wait_s: seconds that backbones waited for decoded images.
        backbone_s: seconds in the network.
        write_s: seconds of writing shards.
        processor_s: seconds of processor time of all stages.
        started: when the first backbone began to work, in seconds since 1970.
        ended: when the last one ended, in seconds since 1970.
    """

    images: int = 0
    quarantined: int = 0
    decode_s: float = 0.0
    wait_s: float = 0.0
    backbone_s: float = 0.0
    write_s: float = 0.0
    processor_s: float = 0.0
    started: float = float("inf")
    ended: float = 0.0

    def add(self, done: PartDone) -> None:
        """Adds a part."""
        for name in (f.name for f in fields(self)):
            if name not in ("started", "ended"):
                setattr(self, name, getattr(self, name) + getattr(done, name))
        self.started = min(self.started, done.started)
        self.ended = max(self.ended, done.ended)

    @property
    def images_per_second(self) -> float:
        """Images per second since the first backbone began to work; 0 before."""
        return self.images / (self.ended - self.started) if self.images else 0.0

    @property
    def bottleneck(self) -> str:
        """The stage that the others wait for; empty before anything is done."""
        if not self.images:
            return ""
        stages = {
            "reading and decoding": self.wait_s,
            "backbone": self.backbone_s,
            "writing": self.write_s,
        }
        return max(stages, key=lambda stage: stages[stage])


@dataclass(frozen=True, kw_only=True)
class FeatureResult:
    """A finished job.

    Attributes:
        uri: the folder of features.
        index: what it holds.
        num_bytes: bytes of all shards.
        seconds: how long this command took.
        tally: what this command itself did; earlier ones may have done the rest.
        accuracy: of the backbone's own classifier by split, 0 to 1; empty without `check`.
    """

    uri: str
    index: ShardIndex
    num_bytes: int
    seconds: float
    tally: Tally
    accuracy: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values by name."""
        index = self.index
        return {
            "out": self.uri,
            "backbone": index.backbone,
            "weights_hash": index.weights_hash,
            "feature_shape": list(index.feature_shape),
            "classes": list(index.classes),
            "rows": dict(index.counts),
            "shards": len(index.shards),
            "bytes": self.num_bytes,
            "quarantined": index.num_quarantined,
            "images_done_now": self.tally.images,
            "images_per_second": round(self.tally.images_per_second, 2),
            "bottleneck": self.tally.bottleneck,
            "seconds": round(self.seconds, 2),
            "accuracy": self.accuracy,
            "stages": {k: round(v, 3) for k, v in asdict(self.tally).items() if k.endswith("_s")},
        }


class _Line(StatusLine):
    """The progress line of features."""

    def __init__(self, total: int, before: int, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._total, self._before = total, before

    def update(self, tally: Tally) -> None:
        if self.due():
            self._show(self.text(tally))

    def text(self, tally: Tally) -> str:
        done, rate = self._before + tally.images, tally.images_per_second
        share = 100.0 * done / max(1, self._total)
        parts = [f"{done:,}/{self._total:,} images ({share:.0f}%)", f"{rate:.1f} images/s"]
        if rate and done < self._total:
            parts.append(f"about {clock((self._total - done) / rate)} left")
        parts.append(f"bottleneck: {tally.bottleneck}")
        if tally.quarantined:
            parts.append(f"{tally.quarantined} unreadable")
        return " · ".join(parts)


def run_features(
    request: FeatureRequest,
    out: str,
    *,
    address: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    check: bool = False,
    quiet: bool = False,
) -> FeatureResult:
    """Makes features, or finishes what an earlier command began.

    Args:
        request: what to make; `images` may also name a known dataset.
        out: the folder of features, by path or URI.
        address: a Ray cluster; None for this machine.
        cpus: cores of this machine to use; all by default.
        gpus: GPUs to use; all by default.
        check: also measure the accuracy of the backbone's own classifier.
        quiet: show no progress.

    Raises:
        UserError: there are no images or no such backbone or weights, the folder holds features of
            another request or another process writes to it, or the storage fails.
    """
    start = time.monotonic()
    storage = Storage(out)
    images = _images_uri(request.images)
    _refuse_inside(storage, images)
    with contextlib.closing(StatusLine(quiet=quiet)) as line:
        line.say(f"listing {images} …")
        listed = list_images(images)
        line.say(f"{len(listed):,} images; loading {request.backbone} …")
        backbone = load_backbone(
            request.backbone, request.weights, seed=request.seed, size=request.size
        )
    positions = class_positions(listed.classes, _outputs(backbone)) if check else None
    tally = Tally()
    fix = "name another folder"
    with exclusive(storage, f"the folder of features {storage.uri}", fix):
        job = open_job(request, storage, listed, backbone)
        if job.pending:
            left = sum(len(part.positions) for part in job.pending)
            with contextlib.closing(_Line(len(listed), len(listed) - left, quiet=quiet)) as line:
                _make(job, backbone, tally, line, address, cpus, gpus)
        index = finish(job)
    accuracy = {}
    if positions is not None:
        accuracy = {split: top1(storage.uri, split, backbone, positions) for split in index.counts}
    names = {shard.name for shard in index.shards}
    return FeatureResult(
        uri=storage.uri,
        index=index,
        num_bytes=sum(size for name, size in storage.files() if name in names),
        seconds=time.monotonic() - start,
        tally=tally,
        accuracy=accuracy,
    )


def _make(
    job: Any,
    backbone: Backbone,
    tally: Tally,
    line: _Line,
    address: str | None,
    cpus: int | None,
    gpus: int | None,
) -> None:
    from raysweep.data.features.ray_data import make_features

    def on_done(done: PartDone) -> None:
        tally.add(done)
        line.update(tally)

    line.say("starting Ray …")
    with contextlib.ExitStack() as stack:
        # Ray reports dead workers on standard output, which is for the result, perhaps in JSON.
        stack.enter_context(contextlib.redirect_stdout(_Brief()))
        with _quiet_ray():
            ray = stack.enter_context(ray_session(address, num_cpus=cpus, num_gpus=gpus))
        for warning in check_cluster(ray, job.storage.uri):
            line.say(warning)
        line.say("reading the first images …")
        make_features(job, backbone, gpus, on_done)


class _Brief(io.StringIO):
    """Passes on to standard error what Ray prints, but for indented lines: logs of dead nodes."""

    def write(self, text: str) -> int:
        kept = [line for line in text.splitlines(keepends=True) if not line.startswith("    ")]
        sys.stderr.write("".join(kept))
        return len(text)


@contextlib.contextmanager
def _quiet_ray() -> Iterator[None]:
    """Makes Ray's own code print fatal errors only, and starts it without any output.

    Ray Data keeps a stage's code in the object store, and Ray warns of that as if it were a defect.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.stderr.flush()
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _images_uri(images: str) -> str:
    """A path or address, or where a known dataset lies."""
    if images in known_datasets() and not Path(images).exists():
        return str(fetch(images))
    return images


def _refuse_inside(storage: Storage, images: str) -> None:
    """Refuses features among the images, where they would be listed as images the next time."""
    folder = Storage(images)
    if storage.local is None or folder.local is None or images.lower().endswith(".csv"):
        return
    if storage.local.resolve().is_relative_to(folder.local.resolve()):
        raise UserError(
            f"the folder of features {storage.local} lies within that of the images "
            f"{folder.local}; name one beside it"
        )


def _outputs(backbone: Backbone) -> int:
    import torch

    with torch.inference_mode():
        return int(backbone.classifier(torch.zeros(1, *backbone.feature_shape)).shape[1])
