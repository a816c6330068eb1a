"""Shards and their index: what is written is read back, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, iter_shards, read_metadata, read_split, write_shard

SHAPE = (3, 2, 2)


def rows_of(count: int, start: int = 0, shape: tuple[int, ...] = SHAPE) -> Rows:
    rng = np.random.default_rng(start)
    numbers = np.arange(start, start + count, dtype=np.int32)
    return Rows(
        rng.normal(size=(count, *shape)).astype(np.float16),
        numbers % 3 - 1,
        numbers + 100,
        numbers + 200,
        [f"train/a/é{n}.jpg" for n in numbers],
        (numbers % 4 - 1).astype(np.int16),
    )


def index_of(shards: list[Shard], **changes: object) -> ShardIndex:
    counts: dict[str, int] = {}
    for shard in shards:
        counts[shard.split] = counts.get(shard.split, 0) + shard.rows
    values: dict[str, object] = {
        "backbone": "vgg16",
        "weights": "random",
        "weights_hash": "abc",
        "preprocessing": {"size": [224, 224], "mean": [0.5, 0.5, 0.5]},
        "feature_shape": SHAPE,
        "classes": ("cats", "dogs"),
        "counts": counts,
        "shards": tuple(shards),
        "complete": True,
    }
    return ShardIndex(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of train (one of them without rows, one of two row groups), one of valid."""
    storage = Storage(tmp_path)
    sizes = {"train-0": 70, "train-1": 0, "train-2": 5, "valid-0": 4}
    start, shards = 0, []
    for name, size in sizes.items():
        split = name.partition("-")[0]
        write_shard(storage, f"{name}.parquet", rows_of(size, start), split, {"start": start})
        shards.append(Shard(name=f"{name}.parquet", split=split, rows=size))
        start += size
    index_of(shards).write(storage)
    return tmp_path


def equal(a: Rows, b: Rows) -> bool:
    arrays = ("features", "labels", "heights", "widths", "variants")
    same = (np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
    return a.ids == b.ids and all(same)


def test_a_split_comes_back_in_order_bit_for_bit_and_in_one_array(folder: Path) -> None:
    rows = read_split(str(folder), "train")
    assert len(rows) == 75
    assert rows.features.dtype == np.float16
    assert rows.features.flags["C_CONTIGUOUS"]
    parts = (rows_of(70, 0), rows_of(5, 70))
    assert np.array_equal(rows.features, np.concatenate([part.features for part in parts]))
    assert rows.ids == parts[0].ids + parts[1].ids
    assert rows.heights.tolist() == list(range(100, 175))
    assert rows.widths.tolist() == list(range(200, 275))
    assert rows.labels.dtype == np.int32


def test_streaming_gives_the_same_rows_and_skips_empty_shards(folder: Path) -> None:
    streamed = list(iter_shards(str(folder), "train"))
    assert [len(rows) for rows in streamed] == [70, 5]
    assert equal(streamed[0], rows_of(70, 0))
    assert equal(streamed[1], rows_of(5, 70))
    assert equal(next(iter_shards(str(folder), "valid")), rows_of(4, 75))


def test_other_tools_see_a_fixed_shape_tensor_of_half_precision(folder: Path) -> None:
    schema = pq.read_schema(folder / "train-0.parquet")
    assert "fixed_shape_tensor[value_type=halffloat, shape=[3,2,2]]" in str(
        schema.field("features")
    )
    assert str(schema.field("label").type) == "int32"


def test_metadata_are_read_without_the_features(folder: Path) -> None:
    storage = Storage(folder)
    assert read_metadata(storage, "train-2.parquet") == (5, {"start": 70})
    assert read_metadata(storage, "train-1.parquet") == (0, {"start": 70})
    with pytest.raises(FileNotFoundError):
        read_metadata(storage, "train-9.parquet")


def test_the_index_comes_back_as_it_was(folder: Path) -> None:
    storage = Storage(folder)
    index = ShardIndex.read(storage)
    assert index == index_of(list(index.shards))
    assert index.feature_shape == SHAPE
    assert [shard.name for shard in index.of_split("valid")] == ["valid-0.parquet"]


def test_vectors_are_rows_too(tmp_path: Path) -> None:
    storage, rows = Storage(tmp_path), rows_of(7, shape=(5,))
    write_shard(storage, "all-0.parquet", rows, "all")
    shard = Shard(name="all-0.parquet", split="all", rows=7)
    index_of([shard], feature_shape=(5,)).write(storage)
    assert equal(read_split(str(tmp_path), "all"), rows)


def test_shards_lie_in_an_object_store_too(folder: Path) -> None:
    store = fsspec.filesystem("memory")
    uri = f"fsspec+memory://{folder.name}"
    storage = Storage(uri)
    try:
        write_shard(storage, "all-0.parquet", rows_of(5), "all", {"key": 1})
        index_of([Shard(name="all-0.parquet", split="all", rows=5)]).write(storage)
        assert equal(read_split(uri, "all"), rows_of(5))
        assert read_metadata(storage, "all-0.parquet") == (5, {"key": 1})
        assert dict(storage.files()).keys() == {"all-0.parquet", "index.json"}
    finally:
        store.rm(f"/{folder.name}", recursive=True)


def test_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no split 'valdi'; did you mean 'valid'"):
        read_split(str(folder), "valdi")
    with pytest.raises(UserError, match="holds no features"):
        read_split(str(tmp_path / "nowhere"), "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 99}', "has format 99"),
        ("{}", "has format None"),
        ("[]", "damaged"),
        ("", "dam"),
    ],
)
def test_a_foreign_index_is_refused(text: str, message: str, folder: Path) -> None:
    (folder / "index.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_split(str(folder), "train")


def test_features_that_are_not_complete_are_refused_unless_asked_for(folder: Path) -> None:
    storage = Storage(folder)
    index_of([], complete=False).write(storage)
    with pytest.raises(UserError, match="not complete"):
        read_split(str(folder), "train")
    assert not ShardIndex.read(storage, complete=False).complete


@pytest.mark.parametrize("damage", ["missing", "cut", "other rows"])
def test_a_damaged_shard_is_named(damage: str, folder: Path) -> None:
    path = folder / "train-2.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        write_shard(Storage(folder), path.name, rows_of(4), "train")
    with pytest.raises(UserError, match=r"train-2.parquet is damaged"):
        read_split(str(folder), "train")


def test_features_that_half_precision_cannot_hold_are_never_written(tmp_path: Path) -> None:
    rows = rows_of(2)
    rows.features[1, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        write_shard(Storage(tmp_path), "x.parquet", rows, "train")
    assert not list(tmp_path.iterdir())
