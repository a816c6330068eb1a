"""Features of images, divided into training, validation and test set.

data = load("features", validation=0.2)
data.train.features            # float16 [n, ...], in memory; or None, and data.stream reads them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, read_shard
from raysweep.data.features.stream import FeatureStream
from raysweep.data.tables.stratified import stratified_split

__all__ = ["FeatureSet", "ImageFeatures", "load"]

_TRAIN = ("train", "training")
_VALID = ("valid", "val", "validation")
_TEST = ("test", "testing")
# The driver's array and its copy for the trials are both there for a moment.
_SHARE_OF_MEMORY = 0.45


@dataclass(frozen=True)
class FeatureSet:
    """Rows of one set, n of them.

    Attributes:
        features: float16 [n, *shape]; [n, 0] where they stay in their shards.
        labels: int64 [n].
        sizes: height and width of the image in pixels, float32 [n, 2].
        variants: int16 [n], 0 for an image itself, -1 for its mirror image, k >= 1 for a variant.
        ids: n names of images.
    """

    features: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    variants: np.ndarray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageFeatures:
    """Features of a folder, split.

    Attributes:
        name: the folder's.
        index: of the folder: backbone, preprocessing, classes.
        train: images and their variants.
        validation: images alone; no image of it is in another set.
        test: the same.
        stream: reads the training features from their shards; None when they are in memory.
        num_unlabelled: rows that were left out because their class is not known.
        fingerprint: 16 hex digits that change with the features, the labels and the split.
    """

    name: str
    index: ShardIndex
    train: FeatureSet
    validation: FeatureSet
    test: FeatureSet
    stream: FeatureStream | None
    num_unlabelled: int
    fingerprint: str

    @property
    def description(self) -> str:
        """One line for people."""
        variants = int((self.train.variants != 0).sum())
        more = f" and {variants:,} variants of them" if variants else ""
        left_out = f"; {self.num_unlabelled:,} without a class" if self.num_unlabelled else ""
        return (
            f"{self.name}: {len(self.train) - variants:,} training images{more}, "
            f"{len(self.validation):,} validation and {len(self.test):,} test images, "
            f"{len(self.index.classes)} classes{left_out}; {self.index.backbone} features "
            f"{'x'.join(map(str, self.index.feature_shape))}"
        )


def load(
    uri: str,
    *,
    validation: float = 0.2,
    test: float = 0.1,
    split_seed: int = 0,
    stream: bool = False,
    buffer: int = 4096,
    extra: str = "",
) -> ImageFeatures:
    """Reads the features of a folder and splits the images, classes in equal shares.

    The split `test`, or else `valid`, is the test set; where both are there, `valid` validates.
    Otherwise a share of the images in `train` validates. Where there is neither, all three sets
    are drawn from what there is. An image and its variants are never in two sets.

    Args:
        uri: folder of shards.
        validation: share of the training images held out for validation, between 0 and 1.
        test: share of all images held out as test set where no split is one, between 0 and 1.
        split_seed: seed of what is held out, 0 or more.
        stream: leave the training features in their shards, and read them in every epoch.
        buffer: least number of rows that a stream shuffles at a time.
        extra: folder of further training rows, made with the same backbone and preprocessing; none
            by default.

    Returns:
        The three sets; the training set without features where `stream` is set.

    Raises:
        UserError: no features there, more than memory holds, a damaged shard, no training images
            with a class, too few images to split, an empty set, or `extra` that does not fit.
    """
    storage = Storage(uri)
    index = ShardIndex.read(storage)
    shards = [shard for shard in index.shards if shard.rows]
    if not stream:
        _check_memory(uri, sum(s.rows for s in shards), index.feature_shape)
    parts = [read_shard(storage, s, index.feature_shape, features=False) for s in shards]
    sets = _divide(uri, shards, parts, (validation, test), split_seed)
    feature_stream = None
    if stream:
        kept = [np.flatnonzero(of_rows == 0) for of_rows in sets]
        feature_stream = FeatureStream(uri, index.feature_shape, shards, kept, buffer)
    train, held_out, tested = (
        _gather(storage, index, shards, parts, sets, number, features=number > 0 or not stream)
        for number in range(3)
    )
    digest = _fingerprint(index, parts, sets)
    if extra:
        train, digest = _with_extra(train, digest, index, extra, stream)
    return ImageFeatures(
        name=uri.rstrip("/").rsplit("/", 1)[-1],
        index=index,
        train=train,
        validation=held_out,
        test=tested,
        stream=feature_stream,
        num_unlabelled=sum(int((part.labels < 0).sum()) for part in parts),
        fingerprint=digest,
    )


def _check_memory(uri: str, rows: int, shape: tuple[int, ...]) -> None:
    import psutil

    needed, free = 2 * rows * int(np.prod(shape)), psutil.virtual_memory().available
    if needed > _SHARE_OF_MEMORY * free:
        raise UserError(
            f"the features in {uri} take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB "
            "are free; add --data stream=true to read them from their shards in every epoch"
        )


def _with_extra(
    train: FeatureSet, digest: str, index: ShardIndex, folder: str, stream: bool
) -> tuple[FeatureSet, str]:
    """Adds the rows of another folder to the training set, and to the fingerprint."""
    storage = Storage(folder)
    other = ShardIndex.read(storage)
    for name in ("backbone", "weights_hash", "preprocessing", "classes"):
        if getattr(index, name) != getattr(other, name):
            raise UserError(
                f"extra={folder} has another {name} than the other features; make both with the "
                "same `raysweep features` options"
            )
    if stream:
        raise UserError(f"extra={folder} and stream=true do not go together; leave one of them out")
    shards = [shard for shard in other.shards if shard.rows]
    parts = [read_shard(storage, s, other.feature_shape, features=False) for s in shards]
    sets = [np.where(part.labels < 0, -1, 0) for part in parts]
    more = _gather(storage, other, shards, parts, sets, 0, features=True)
    columns = {
        name: np.concatenate([getattr(train, name), getattr(more, name)])
        for name in ("features", "labels", "sizes", "variants")
    }
    names = train.ids + tuple(f"{folder}/{name}" for name in more.ids)
    return FeatureSet(**columns, ids=names), fingerprint(digest, _fingerprint(other, parts, sets))


def _divide(
    uri: str,
    shards: Sequence[Shard],
    parts: Sequence[Rows],
    shares: tuple[float, float],
    seed: int,
) -> list[np.ndarray]:
    """For each shard the set of each row: 0 train, 1 validation, 2 test, -1 none."""
    names = {shard.split for shard in shards}
    roles = _roles(uri, names)
    validation, test = shares
    fractions = {
        (0,): [(1 - test) * (1 - validation), (1 - test) * validation, test],
        (0, 2): [1 - validation, validation],
    }.get(tuple(sorted(set(roles.values()))))
    images: dict[str, int] = {}
    for shard, part in zip(shards, parts, strict=True):
        if roles.get(shard.split) == 0:
            pairs = zip(part.ids, part.labels.tolist(), strict=True)
            images |= {name: label for name, label in pairs if label >= 0}
    if not images:
        raise UserError(f"{uri} has no training images with a class; give it labelled ones")
    chosen = _assign(images, fractions, seed)
    sets = []
    for shard, part in zip(shards, parts, strict=True):
        role = roles.get(shard.split, -1)
        of_rows = np.array(
            [chosen.get(i, -1) for i in part.ids] if role == 0 else [role] * len(part), np.int8
        )
        # Variants train; what is measured is measured on the images themselves.
        of_rows[(part.labels < 0) | ((of_rows > 0) & (part.variants != 0))] = -1
        sets.append(of_rows)
    return sets


def _roles(uri: str, names: set[str]) -> dict[str, int]:
    """The set of each split: 0 train, 1 validation, 2 test."""
    train = [name for name in names if name in _TRAIN] or sorted(names - {*_VALID, *_TEST})
    valid = [name for name in names if name in _VALID]
    test = [name for name in names if name in _TEST]
    if not train:
        raise UserError(
            f"{uri} has the splits {', '.join(sorted(names))} and none to train on; make features "
            "of a folder `train`, too"
        )
    roles = dict.fromkeys(train, 0)
    roles |= dict.fromkeys(test, 2)
    return roles | dict.fromkeys(valid, 1 if test else 2)


def _assign(images: Mapping[str, int], fractions: list[float] | None, seed: int) -> dict[str, int]:
    if fractions is None:
        return dict.fromkeys(images, 0)
    # By name, so that a split does not depend on how rows lie in shards.
    names = sorted(images)
    labels = np.array([images[name] for name in names])
    chosen: dict[str, int] = {}
    for number, rows in enumerate(stratified_split(labels, fractions, seed)):
        chosen |= {names[row]: number for row in rows}
    return chosen


def _gather(
    storage: Storage,
    index: ShardIndex,
    shards: Sequence[Shard],
    parts: Sequence[Rows],
    sets: Sequence[np.ndarray],
    number: int,
    *,
    features: bool,
) -> FeatureSet:
    """The rows of one set in order, read shard by shard: no array is in memory twice."""
    kept = [np.flatnonzero(of_rows == number) for of_rows in sets]
    count = sum(map(len, kept))
    if not count:
        raise UserError(
            f"{storage.uri} has no labelled {('train', 'validation', 'test')[number]} images; make "
            "features of some with `raysweep features`"
        )
    values = np.empty((count, *index.feature_shape) if features else (count, 0), np.float16)
    start = 0
    for shard, rows in zip(shards, kept, strict=True):
        if features and len(rows):
            part = read_shard(storage, shard, index.feature_shape)
            values[start : start + len(rows)] = part.features[rows]
        start += len(rows)
    pairs = list(zip(parts, kept, strict=True))
    sizes = [np.stack([p.heights[rows], p.widths[rows]], 1) for p, rows in pairs]
    return FeatureSet(
        values,
        np.concatenate([p.labels[rows] for p, rows in pairs]).astype(np.int64),
        np.concatenate(sizes).astype(np.float32),
        np.concatenate([p.variants[rows] for p, rows in pairs]),
        tuple(p.ids[row] for p, rows in pairs for row in rows),
    )


def _fingerprint(index: ShardIndex, parts: Sequence[Rows], sets: Sequence[np.ndarray]) -> str:
    """Of how the features were made and of every row's name, class and set, not of gigabytes."""
    origin = (index.backbone, index.weights_hash, index.preprocessing, index.augmentation)
    rows = [(*part.ids, part.labels.tolist(), part.variants.tolist()) for part in parts]
    return fingerprint(*origin, index.manifest, index.classes, *rows, *sets)
