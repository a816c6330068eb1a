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
| features | fixed-shape tensor of float16 | what the backbone made of it |

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
        name: relative to the folder.
        split: of all its rows.
        rows: how many; 0 if no image of it could be read.
    """

    name: str
    split: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a folder of features holds, and how they were made; `index.json`.

    Attributes:
        backbone: name of the network, as `raysweep.data.features.backbones` knows it.
        weights: as they were asked for: `default`, `random`, or a file.
        weights_hash: of the weights themselves; equal hashes mean equal networks.
        weights_seed: of random weights.
        source: the folder that `ids` were relative to, by path or URI; it may have moved since.
        preprocessing: image size, `squash` or `crop`, interpolation, mean, std, precision, ….
        augmentation: mirror images (`flip`) and the number of random variants (`augment`), and how
            these may differ.
        feature_shape: of one row's features, e.g. `(512, 7, 7)`.
        classes: names, in the order of the labels.
        counts: rows of each split.
        shards: every file that belongs to the features, in order.
        complete: whether all images are done.
        manifest: fingerprint of the list of images.
        request: everything that was asked for, by name; what a resumed job is compared with.
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
                    f"{FORMAT}; make the features anew with `raysweep features`"
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
            raise UserError(f"{storage.uri}/{INDEX} is damaged ({error})") from None
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
        heights: int32 [n], pixels of the original image.
        widths: int32 [n].
        ids: n names of images.
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
        storage: the folder.
        name: the file's name in it.
        rows: n rows, n may be 0 (the features' shape counts all the same).
        split: of all rows.
        metadata: JSON values by name, for `read_metadata`.

    Raises:
        ValueError: features that are not finite; float16 ends at 65504.
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
    ).replace_schema_metadata({key: json.dumps(each) for key, each in (metadata or {}).items()})
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
    """The number of rows of a shard and the metadata it was written with; reads no features.

    Raises:
        FileNotFoundError: no such shard.
        UserError: the file is damaged.
    """
    with _opened(storage, name) as file:
        found = file.schema_arrow.metadata or {}
        own = {k.decode(): json.loads(v) for k, v in found.items() if not k.startswith(b"ARROW:")}
        return file.metadata.num_rows, own


def read_split(uri: str, split: str) -> Rows:
    """Reads a whole split into one array: n · 2 bytes · the size of a row, and one row group.

    Args:
        uri: the folder of features.
        split: e.g. `train`.

    Raises:
        UserError: no features there, not complete, no such split, or a damaged shard.
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
    """Reads a split shard by shard, in order, one in memory at a time; shards with rows only.

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
    """Reads one shard, with its features of `shape` or without any, [n, 0], which is fast.

    Raises:
        UserError: the shard is damaged or missing.
    """
    rows = _empty(shard.rows, shape if features else (0,))
    _read_into(rows, 0, storage, shard)
    return rows


def read_features(storage: Storage, shard: Shard, into: np.ndarray) -> None:
    """Reads a shard's features alone, into float16 [n, *shape]; raises what `read_shard` does."""
    nothing = np.empty(0, np.int32)
    rows = Rows(into, nothing, nothing, nothing, [], np.empty(0, np.int16))
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
        f"{storage.uri}/{name} is damaged: {why}; delete the file, and the same "
        "`raysweep features` command makes it anew"
    )
