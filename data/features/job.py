"""A job that makes features: the request, its parts of one shard each, and which are finished.

The list of images is cut into parts, split by split, always in the same way. Each part makes one
shard, which appears whole or not at all. So the shards that exist say what is finished: run again,
a job makes the missing ones. Two processes that make the same shard write the same file. Thus every
image appears exactly once, whatever was killed and however often.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from raysweep.core.differences import differences
from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.core.storage import Storage
from raysweep.data.features.backbones import Backbone, Preprocessing
from raysweep.data.features.shard_index import INDEX, Shard, ShardIndex
from raysweep.data.features.shards import read_metadata
from raysweep.data.images.augment import Augmentation
from raysweep.data.images.decode import INTERPOLATIONS, RESIZES
from raysweep.data.images.lists import ImageList

__all__ = ["QUARANTINE", "FeatureJob", "FeatureRequest", "Part", "finish", "open_job", "remaining"]

QUARANTINE = "quarantine.jsonl"
PRECISIONS = ("bfloat16", "float32")
# Decoded images of one part travel together; Ray Data would cut more than 128 MiB in two.
_PART_BYTES = 96 << 20
# A small split is cut into more and smaller parts, so that all workers end at about the same time.
_PARTS, _FEWEST_ROWS = 16, 32


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """Which features to make.

    Attributes:
        images: a folder or a CSV file; see `images.lists.list_images`.
        backbone: name of the network; see `backbones.load_backbone`.
        weights: of the network; see `backbones.load_backbone`.
        seed: of random weights and of the random variants.
        size: side of the images in pixels, 16 to 2,048; the backbone's by default.
        resize: `crop` or `squash`; see `images.decode.Resize`.
        interpolation: one of `images.decode.INTERPOLATIONS`; the backbone's by default.
        precision: type that the backbone computes in: `bfloat16` or `float32`.
        flip: add the mirror image of every image.
        augment: number of random variants to add of every image, 0 to 1,000.
        augmentation: how they may differ.
        augment_splits: splits that get mirror images and variants; by default `train`, or all where
            there is none of that name.
        shard_rows: rows of a shard at most, 1 to 4,096.

    Raises:
        UserError: a field is out of range, or two do not go together.
    """

    images: str
    backbone: str = "vgg16"
    weights: str = "default"
    seed: int = 0
    size: int | None = None
    resize: str = "crop"
    interpolation: str = ""
    precision: str = "bfloat16"
    flip: bool = False
    augment: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    augment_splits: tuple[str, ...] = ()
    shard_rows: int = 128

    def __post_init__(self) -> None:
        choices = {"resize": RESIZES, "precision": PRECISIONS, "interpolation": INTERPOLATIONS}
        for name, values in choices.items():
            value = getattr(self, name)
            if value not in values and not (name == "interpolation" and not value):
                raise UserError(f"--{name} {value}: use one of {', '.join(values)}")
        ranges = {"size": (16, 2048), "augment": (0, 1000), "shard_rows": (1, 4096)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                option = name.replace("_", "-")
                raise UserError(f"--{option} {value} is out of range; use {low} to {high}")
        if self.augment and self.augmentation.is_identity():
            raise UserError(
                "--augment adds variants, but every field of them is 0; set --rotation or another"
            )
        if self.augment_splits and not (self.augment or self.flip):
            raise UserError("--augment-split says where --flip or --augment apply; add one of them")

    def preprocessing(self, backbone: Backbone) -> Preprocessing:
        """Returns the backbone's preprocessing, with this request's resizing and interpolation."""
        default = backbone.preprocessing
        method = self.interpolation or default.resize.interpolation
        resize = replace(default.resize, mode=self.resize, interpolation=method)
        return replace(default, resize=resize)

    def variants(self, split: str, splits: set[str]) -> list[int]:
        """Returns the variants to make of each image of a split, given the names of all splits.

        0 is the image itself, -1 its mirror image, k ≥ 1 its k-th random variant.
        """
        chosen = self.augment_splits or ({"train"} if "train" in splits else splits)
        if split not in chosen:
            return [0]
        return [0, *([-1] if self.flip else []), *range(1, self.augment + 1)]


@dataclass(frozen=True)
class Part:
    """The images of one shard.

    Attributes:
        name: the shard's file.
        split: of all of them.
        positions: indices into the list of images, int64 [m].
        variants: which variants of each of them are rows of the shard; see `shards.Rows`.
    """

    name: str
    split: str
    positions: np.ndarray
    variants: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows of the shard, if all images can be read."""
        return len(self.positions) * len(self.variants)


@dataclass(frozen=True)
class FeatureJob:
    """A job that was compared with what its folder holds.

    Attributes:
        request: which features to make.
        storage: the folder of features.
        images: all images.
        preprocessing: of every image.
        parts: all parts, each of one shard.
        pending: parts whose shard is not there yet.
        index: as it will be written, without what is counted at the end.
        key: 16 hex digits, equal for equal jobs; written into every shard.
    """

    request: FeatureRequest
    storage: Storage
    images: ImageList
    preprocessing: Preprocessing
    parts: list[Part]
    pending: list[Part]
    index: ShardIndex
    key: str


def open_job(
    request: FeatureRequest, storage: Storage, images: ImageList, backbone: Backbone
) -> FeatureJob:
    """Starts a job, or opens the one that the folder holds.

    Args:
        request: which features to make.
        storage: the folder of features.
        images: from `list_images(request.images)`.
        backbone: the request's, loaded.

    Raises:
        UserError: the folder holds features of another request (the message shows the difference),
            or a split to augment does not exist.
    """
    unknown = sorted(set(request.augment_splits) - set(images.splits))
    if unknown:
        raise UserError(
            f"--augment-split {unknown[0]}: the images have no such split "
            f"(splits: {', '.join(sorted(set(images.splits)))})"
        )
    preprocessing = request.preprocessing(backbone)
    identity = _identity(request, images, backbone, preprocessing)
    index = ShardIndex(
        backbone=request.backbone,
        weights=request.weights,
        weights_hash=backbone.weights_hash,
        weights_seed=request.seed,
        preprocessing={**identity["preprocessing"], "precision": request.precision},
        augmentation=identity["augmentation"],
        feature_shape=backbone.feature_shape,
        classes=images.classes,
        manifest=images.fingerprint,
        source=images.root,
        request=identity,
    )
    if storage.exists(INDEX):
        _check_same(storage, identity)
    else:
        index.write(storage)
    parts = _parts(request, images, preprocessing.resize.size)
    _remove_remains(storage)
    return remaining(
        FeatureJob(
            request=request,
            storage=storage,
            images=images,
            preprocessing=preprocessing,
            parts=parts,
            pending=[],
            index=index,
            key=fingerprint(json.dumps({**identity, "weights": ""}, sort_keys=True)),
        )
    )


def remaining(job: FeatureJob) -> FeatureJob:
    """Returns the job with the parts as pending whose shards are not in its folder now."""
    finished = {name for name, _ in job.storage.files()}
    return replace(job, pending=[part for part in job.parts if part.name not in finished])


def _identity(
    request: FeatureRequest,
    images: ImageList,
    backbone: Backbone,
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    """What two jobs must have in common to share a folder, as JSON gives it back."""
    augmentation: dict[str, Any] = {"flip": request.flip, "augment": request.augment}
    augmentation["splits"] = sorted(request.augment_splits)
    if request.augment:
        augmentation |= {**asdict(request.augmentation), "seed": request.seed}
    identity = {
        "backbone": request.backbone,
        "weights": request.weights,
        "weights_hash": backbone.weights_hash,
        "precision": request.precision,
        "preprocessing": asdict(preprocessing),
        "augmentation": augmentation,
        "shard_rows": request.shard_rows,
        "images": images.fingerprint,
        "num_images": len(images),
    }
    return dict(json.loads(json.dumps(identity)))


def _check_same(storage: Storage, identity: dict[str, Any]) -> None:
    theirs = dict(ShardIndex.read(storage, complete=False).request)
    # A file of weights may have moved; its hash says whether it is the same.
    lines = differences({**theirs, "weights": ""}, {**identity, "weights": ""})
    if lines:
        raise UserError(
            f"{storage.uri} holds features of another request:\n  "
            + "\n  ".join(lines)
            + "\nRepeat that request to resume it, or name another folder"
        )


def _parts(request: FeatureRequest, images: ImageList, size: int) -> list[Part]:
    most = max(1, min(request.shard_rows, _PART_BYTES // (3 * size * size)))
    names = np.array(images.splits)
    parts = []
    for split in sorted(set(images.splits)):
        variants = request.variants(split, set(images.splits))
        positions = np.flatnonzero(names == split)
        even = math.ceil(len(positions) * len(variants) / _PARTS)
        rows = min(most, max(_FEWEST_ROWS, even))
        count = _even(math.ceil(len(positions) / max(1, rows // len(variants))))
        for number, some in enumerate(np.array_split(positions, count)):
            parts.append(Part(f"{split}-{number:05d}.parquet", split, some, tuple(variants)))
    return parts


def _even(count: int) -> int:
    """At least so many parts that 2, 4, 8 or 16 workers can share them without a remainder."""
    if count < _PARTS:
        return 1 << (count - 1).bit_length()
    return _PARTS * math.ceil(count / _PARTS)


def _remove_remains(storage: Storage) -> None:
    """Removes the half-written files of processes that were killed."""
    if storage.local is None:  # an object store has none
        return
    for name, _ in storage.files():
        if name.startswith(".") and ".parquet." in name:
            (storage.local / name).unlink(missing_ok=True)


def finish(job: FeatureJob) -> ShardIndex:
    """Counts the rows of all shards and writes the complete index and the quarantine list.

    Returns:
        The index as written.

    Raises:
        UserError: a shard is missing, damaged, or of another job.
    """
    from concurrent.futures import ThreadPoolExecutor

    def footer(part: Part) -> tuple[int, dict[str, Any]]:
        try:
            return read_metadata(job.storage, part.name)
        except FileNotFoundError:
            raise UserError(
                f"{job.storage.uri}/{part.name} is missing; the same command makes it. If workers "
                "on other machines wrote it, name a folder that all machines share, or an object "
                "store"
            ) from None

    shards, bad, counts = [], [], dict.fromkeys(sorted(set(job.images.splits)), 0)
    with ThreadPoolExecutor(16) as pool:
        for part, (rows, metadata) in zip(job.parts, pool.map(footer, job.parts), strict=True):
            refused = metadata.get("quarantined", [])
            if metadata.get("key") != job.key or rows != part.rows - len(refused) * len(
                part.variants
            ):
                raise UserError(
                    f"{job.storage.uri}/{part.name} is of another job; delete it and run the same "
                    "command again"
                )
            shards.append(Shard(name=part.name, split=part.split, rows=rows))
            counts[part.split] += rows
            bad += [{**image, "split": part.split} for image in refused]
    lines = [json.dumps(image, ensure_ascii=False) + "\n" for image in bad]
    job.storage.write(QUARANTINE, "".join(lines))
    index = replace(
        job.index, shards=tuple(shards), counts=counts, complete=True, num_quarantined=len(bad)
    )
    index.write(job.storage)
    return index
