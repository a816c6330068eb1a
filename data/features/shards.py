"""Features of images on disk: Parquet shards of a few hundred rows, and an index of them.

A folder of features, local or in an object store, holds `index.json` and files such as
`train-00003.parquet`. A shard's rows all belong to one split. Its columns:

| column | type | meaning |
| --- | --- | --- |
| id | string | the image's path below its folder, or in the list of images |
| variant | int16 | 0 the image itself, -1 its mirror image, k ≥ 1 its k-th random variant |
| label | int32 | index into the index's `classes`; -1 where it is not known |
| split | string | e.g. train, valid |
| height, width | int32 | of the image in pixels, before any resizing |
| features | fixed-shape tensor of float16 | the output of the backbone |

An image and its variants stand together in one shard. The order of images is shuffled, always in
the same way, so that every shard holds a mixture of classes.

    rows = read_split("features", "train")
    rows.features.shape                            # (800, 1280)
    for rows in iter_shards("s3://bucket/features", "train"):
        ...                                        # one shard at a time, for what exceeds memory
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage

__all__ = [
    "FORMAT",
    "INDEX",
    "Rows",
    "Shard",
    "ShardIndex",
    "iter_shards",
    "read_metadata",
    "read_shard",
    "read_split",
    "write_shard",
]

FORMAT = 1
INDEX = "index.json"
# Small row groups are read twice as fast: they stay in the processor's cache.
_ROW_GROUP = 64


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file.

    Attributes:
        name: the file's name in the folder.
        split: the split of all its rows.
        rows: number of rows; 0 if none of its images could be read.
    """

    name: str
    split: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a folder of features holds, and how they were made; `index.json`.

    Attributes:
        backbone: name of the network, as `raysweep.data.features.backbones` knows it.
        weights: as requested: `default`, `random`, or a file.
        weights_hash: of the weights themselves; equal hashes mean equal networks.
        weights_seed: of random weights.
        source: the folder that ids were relative to, by path or URI; it may have moved since.
        preprocessing: image size, `squash` or `crop`, interpolation, mean, std, precision, ….
        augmentation: mirror images (`flip`) and the number of random variants (`augment`), and how
            these may differ.
        feature_shape: of one row's features, e.g. `(512, 7, 7)`.
        classes: names, in the order of the labels.
        counts: rows of each split.
        shards: every file that belongs to the features, in order.
        complete: whether all images are in it or in quarantine.
        manifest: fingerprint of the list of images.
        request: everything that a resumed job must have in common with this one, by name.
        num_quarantined: images that could not be read; `quarantine.jsonl` says why.
        format: version of this format.
    """

    backbone: str
    weights: str
    weights_hash: str
    preprocessing: Mapping[str, Any]
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    feature_shape: tuple[int, ...]
    classes: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    complete: bool = False
    manifest: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    num_quarantined: int = 0
    weights_seed: int = 0
    source: str = ""
    format: int = FORMAT

    def write(self, storage: Storage) -> None:
        """Writes `index.json`, whole."""
        storage.write(INDEX, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, storage: Storage, *, complete: bool = True) -> ShardIndex:
        """Reads `index.json`.

        Args:
            storage: the folder of features.
            complete: refuse features of which some are still missing.

        Raises:
            UserError: there is none, it is damaged, of another format, or not complete.
        """
        try:
            values = json.loads(storage.read(INDEX))
            if values.get("format") != FORMAT:
                raise UserError(
                    f"{storage.uri}/{INDEX} has format {values.get('format')}, this version reads "
                    f"{FORMAT}; make the features again with `raysweep features`"
                )
            shards = tuple(Shard(**shard) for shard in values.pop("shards"))
            for name in ("feature_shape", "classes"):
                values[name] = tuple(values[name])
            index = cls(**values, shards=shards)
        except FileNotFoundError:
            raise UserError(
                f"{storage.uri} holds no features (it has no {INDEX}); "
                "`raysweep features IMAGES OUT` makes them"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{storage.uri}/{INDEX} is damaged ({error}); make the features again"
            ) from None
        if complete and not index.complete:
            raise UserError(
                f"the features in {storage.uri} are not complete; run the same "
                "`raysweep features` command again to finish them"
            )
        return index

    def of_split(self, split: str) -> list[Shard]:
        """The shards of a split, in order; raises UserError if there is no such split."""
        if split not in self.counts:
            raise UserError(f"the features have no split '{split}'{nearest(split, self.counts)}")
        return [shard for shard in self.shards if shard.split == split]


@dataclass(frozen=True)
class Rows:
    """Rows of features, n of them.

    Attributes:
        features: float16 [n, *feature_shape].
        labels: int32 [n]; -1 where a class is not known.
        heights: of the original image in pixels, int32 [n].
        widths: of the original image in pixels, int32 [n].
        ids: id of each row's image, [n].
        variants: int16 [n]; 0 the image itself, -1 its mirror image, k ≥ 1 a random variant.
    """

    features: np.ndarray
    labels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    ids: list[str]
    variants: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def write_shard(
    storage: Storage,
    name: str,
    rows: Rows,
    split: str,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes one shard whole: it is there with all its rows, or not there.

    Args:
        storage: the folder of features.
        name: the shard's file name.
        rows: n rows; n may be 0, with features [0, *feature_shape].
        split: the split of all rows.
        metadata: JSON values by name, for `read_metadata`.

    Raises:
        ValueError: a feature is not finite; float16 ends at 65504.
    """
    if not np.isfinite(rows.features).all():
        raise ValueError(f"{name}: features are not finite, or too large for float16")
    shape, count = rows.features.shape[1:], len(rows)
    tensor_type = pa.fixed_shape_tensor(pa.float16(), shape)
    flat = pa.array(np.ascontiguousarray(rows.features, dtype=np.float16).reshape(-1))
    values = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
    table = pa.table(
        {
            "id": pa.array(rows.ids, pa.string()),
            "variant": pa.array(rows.variants, pa.int16()),
            "label": pa.array(rows.labels, pa.int32()),
            "split": pa.array([split] * count, pa.string()),
            "height": pa.array(rows.heights, pa.int32()),
            "width": pa.array(rows.widths, pa.int32()),
            "features": pa.ExtensionArray.from_storage(tensor_type, values),
        }
    ).replace_schema_metadata({key: json.dumps(value) for key, value in (metadata or {}).items()})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_ROW_GROUP,
        # Half of all features after a ReLU are 0: zstd reads as fast and is a fraction of the size.
        compression="zstd",
        compression_level=1,
        use_dictionary=["split"],
        write_statistics=False,
    )
    storage.write(name, sink.getvalue().to_pybytes())


def read_metadata(storage: Storage, name: str) -> tuple[int, dict[str, Any]]:
    """Reads what a shard says about itself, without its rows.

    Args:
        storage: the folder of features.
        name: the shard's file name.

    Returns:
        Its number of rows and the metadata that it was written with.

    Raises:
        FileNotFoundError: no such shard.
        UserError: the file is damaged.
    """
    with _opened(storage, name) as file:
        pairs = (file.schema_arrow.metadata or {}).items()
        metadata = {k.decode(): json.loads(v) for k, v in pairs if not k.startswith(b"ARROW:")}
        return file.metadata.num_rows, metadata


def read_split(uri: str, split: str) -> Rows:
    """Reads a whole split into one array, with hardly any memory beside it.

    Args:
        uri: the folder of features, by path or URI.
        split: e.g. `train`.

    Returns:
        All rows of the split: 2 bytes a feature.

    Raises:
        UserError: there are no features, they are not complete, there is no such split, or a shard
            is damaged.
    """
    storage = Storage(uri)
    index = ShardIndex.read(storage)
    shards = index.of_split(split)
    count = sum(shard.rows for shard in shards)
    rows = _empty(count, index.feature_shape)
    start = 0
    for shard in shards:
        start = _read_into(rows, start, storage, shard)
    return rows


def iter_shards(uri: str, split: str) -> Iterator[Rows]:
    """Reads a split shard by shard, in order, one in memory at a time.

    Args:
        uri: the folder of features, by path or URI.
        split: e.g. `train`.

    Yields:
        The rows of each shard that has any.

    Raises:
        UserError: as `read_split`.
    """
    storage = Storage(uri)
    index = ShardIndex.read(storage)
    for shard in index.of_split(split):
        if shard.rows:
            rows = _empty(shard.rows, index.feature_shape)
            _read_into(rows, 0, storage, shard)
            yield rows


def read_shard(
    storage: Storage, shard: Shard, shape: tuple[int, ...], *, features: bool = True
) -> Rows:
    """Reads one shard.

    Args:
        storage: the folder of features.
        shard: which one.
        shape: `feature_shape` of the index.
        features: whether to read the features; without them, [n, 0], it is fast.

    Raises:
        UserError: the shard is damaged or missing.
    """
    rows = _empty(shard.rows, shape if features else (0,))
    _read_into(rows, 0, storage, shard)
    return rows


def read_features(storage: Storage, shard: Shard, into: np.ndarray) -> None:
    """Reads a shard's features alone.

    Args:
        storage: the folder of features.
        shard: which one.
        into: gets the features, float16 [n, *feature_shape].

    Raises:
        UserError: the shard is damaged or missing.
    """
    empty = np.empty(0, np.int32)
    rows = Rows(into, empty, empty, empty, [], np.empty(0, np.int16))
    _read_into(rows, 0, storage, shard, others=False)


def _empty(count: int, shape: tuple[int, ...]) -> Rows:
    labels, heights, widths = (np.empty(count, np.int32) for _ in range(3))
    features = np.empty((count, *shape), np.float16)
    return Rows(features, labels, heights, widths, [], np.empty(count, np.int16))


def _read_into(
    rows: Rows, start: int, storage: Storage, shard: Shard, *, others: bool = True
) -> int:
    """Copies a shard's rows, or their features alone, into `rows`; returns where they end."""
    plain = {
        "label": rows.labels,
        "height": rows.heights,
        "width": rows.widths,
        "variant": rows.variants,
    }
    plain = plain if others else {}
    try:
        with _opened(storage, shard.name) as file:
            if file.metadata.num_rows != shard.rows:
                raise _damaged(storage, shard.name, f"{file.metadata.num_rows} rows")
            wanted = [*plain, "id"] if others else []
            wanted += ["features"] if rows.features.shape[1:] != (0,) else []
            # One thread: nearly all is one column, and a pool only adds to its time.
            parts = file.iter_batches(batch_size=_ROW_GROUP, columns=wanted, use_threads=False)
            for batch in parts:
                end = start + batch.num_rows
                for name, target in plain.items():
                    target[start:end] = batch.column(name).to_numpy(zero_copy_only=False)
                if others:
                    rows.ids.extend(batch.column("id").to_pylist())
                if "features" in wanted:
                    values = batch.column("features").storage.flatten().to_numpy()
                    rows.features[start:end] = values.reshape(-1, *rows.features.shape[1:])
                start = end
    except FileNotFoundError:
        raise _damaged(storage, shard.name, "it is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(storage, shard.name, str(error).splitlines()[0]) from None
    return start


def _opened(storage: Storage, name: str) -> pq.ParquetFile:
    try:
        if storage.local is not None:
            return pq.ParquetFile(storage.local / name, memory_map=True)
        return pq.ParquetFile(pa.BufferReader(storage.read(name)))
    except pa.ArrowInvalid as error:
        raise _damaged(storage, name, str(error).splitlines()[0]) from None


def _damaged(storage: Storage, name: str, why: str) -> UserError:
    return UserError(
        f"{storage.uri}/{name} is damaged: {why}; delete the file and run the same "
        "`raysweep features` command again"
    )
