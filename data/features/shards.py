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
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex

__all__ = [
    "Rows",
    "iter_shards",
    "read_metadata",
    "read_shard",
    "read_split",
    "write_shard",
]

# Small row groups are read twice as fast: they stay in the processor's cache.
_ROW_GROUP = 64


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
