"""Features as sets: which image trains, validates and tests; and training rows from shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.sets import ImageFeatures, load
from raysweep.data.features.shard_index import ShardIndex
from raysweep.data.features.shards import read_split

Make = Callable[..., Path]


def images(data: ImageFeatures) -> list[set[str]]:
    return [set(each.ids) for each in (data.train, data.validation, data.test)]


def test_no_image_is_in_two_sets_and_only_training_has_variants(features_folder: Path) -> None:
    data = load(str(features_folder), validation=0.25)
    train, validation, test = images(data)
    assert (len(train), len(validation), len(test)) == (151, 49, 60)
    assert not train & validation
    assert all(name.startswith("valid/") for name in test)
    assert len(data.train) == 3 * 151
    assert not data.validation.variants.any()
    assert not data.test.variants.any()
    shares = [np.bincount(s.labels) / len(s) for s in (data.train, data.validation)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)


def test_rows_keep_their_features_labels_and_sizes(features_folder: Path) -> None:
    data, rows = load(str(features_folder)), read_split(str(features_folder), "train")
    keys = list(zip(rows.ids, rows.variants.tolist(), strict=True))
    place = {key: k for k, key in enumerate(keys)}
    for part in (data.train, data.validation):
        chosen = [place[key] for key in zip(part.ids, part.variants.tolist(), strict=True)]
        np.testing.assert_array_equal(part.features, rows.features[chosen])
        np.testing.assert_array_equal(part.labels, rows.labels[chosen])
        np.testing.assert_array_equal(part.sizes[:, 1], rows.widths[chosen])


@pytest.mark.parametrize(
    ("splits", "counts"),
    [
        ({"train": 40, "valid": 20, "test": 30}, (40, 20, 30)),
        ({"train": 40, "test": 30}, (32, 8, 30)),
        ({"photos": 100}, (72, 18, 10)),
    ],
)
def test_the_sets_follow_the_splits_that_are_there(
    make_features: Make, tmp_path: Path, splits: dict[str, int], counts: tuple[int, ...]
) -> None:
    data = load(str(make_features(tmp_path, splits)))
    assert tuple(map(len, images(data))) == pytest.approx(counts, abs=2)
    assert sum(map(len, images(data))) == sum(splits.values())


def test_a_split_depends_on_its_seed_alone(features_folder: Path) -> None:
    one, same, other = (load(str(features_folder), split_seed=s) for s in (0, 0, 1))
    assert images(one) == images(same)
    assert one.fingerprint == same.fingerprint
    assert images(one)[1] != images(other)[1]
    assert one.fingerprint != other.fingerprint


def test_what_cannot_train_is_refused(make_features: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no features"):
        load(str(tmp_path))
    with pytest.raises(UserError, match="none to train on"):
        load(str(make_features(tmp_path / "a", {"valid": 20, "test": 20})))


def test_images_without_a_class_are_left_out_and_counted(
    make_features: Make, tmp_path: Path
) -> None:
    folder = make_features(tmp_path, {"train": 80, "valid": 40})
    whole = load(str(folder))
    from raysweep.data.features.shards import read_shard, write_shard

    index = ShardIndex.read(Storage(folder))
    rows = read_shard(Storage(folder), index.shards[0], index.feature_shape)
    rows.labels[:7] = -1
    write_shard(Storage(folder), index.shards[0].name, rows, "train")
    data = load(str(folder))
    assert data.num_unlabelled == 7
    assert sum(map(len, images(data))) == sum(map(len, images(whole))) - 7


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 16), (2, 16), (3, 7)])
def test_a_stream_gives_every_row_once_and_the_same_to_any_number_of_workers(
    features_folder: Path, workers: int, batch_size: int
) -> None:
    memory = load(str(features_folder))
    data = load(str(features_folder), stream=True, buffer=200)
    assert data.train.features.size == 0
    assert data.stream is not None
    wanted = np.ones(len(data.train), bool)
    wanted[::5] = False
    alone = list(data.stream.batches(3, wanted, batch_size))
    parts = [list(data.stream.batches(3, wanted, batch_size, r, workers)) for r in range(workers)]
    seen = np.concatenate([batch.rows for batch in alone])
    np.testing.assert_array_equal(np.sort(seen), np.flatnonzero(wanted))
    assert not np.array_equal(seen, np.sort(seen))
    for whole, *shares in zip(alone, *parts, strict=True):
        assert {s.total for s in shares} == {len(whole.rows)}
        positions = np.concatenate([s.positions for s in shares])
        assert sorted(positions) == list(range(whole.total))
        rows = np.concatenate([s.rows for s in shares])
        np.testing.assert_array_equal(rows[np.argsort(positions)], whole.rows)
        for share in shares:
            np.testing.assert_array_equal(share.features, memory.train.features[share.rows])
    if workers > 1:
        counts = [sum(len(b.rows) for b in part) for part in parts]
        assert max(counts) < 0.75 * len(seen), "each worker reads its own shards"


def test_another_seed_gives_another_order(features_folder: Path) -> None:
    stream = load(str(features_folder), stream=True).stream
    assert stream is not None
    wanted = np.ones(sum(map(len, stream.kept)), bool)
    orders = [[b.rows.tolist() for b in stream.batches(seed, wanted, 32)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_description_counts_images_not_rows(features_folder: Path) -> None:
    line = load(str(features_folder)).description
    assert "160 training images and 320 variants of them, 40 validation and 60 test" in line


def test_features_larger_than_memory_are_to_be_streamed(
    features_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=60_000))
    with pytest.raises(UserError, match="add --data stream=true"):
        load(str(features_folder))
    assert load(str(features_folder), stream=True).stream is not None


def test_unfinished_features_are_refused(make_features: Make, tmp_path: Path) -> None:
    folder = make_features(tmp_path, {"train": 40})
    index = ShardIndex.read(Storage(folder))
    dataclasses.replace(index, complete=False).write(Storage(folder))
    with pytest.raises(UserError, match="not complete"):
        load(str(folder))
