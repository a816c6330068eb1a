"""A job: every image in one part, done parts skipped, other jobs refused; stages without Ray."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from raysweep.cluster.features import Tally, _Line, run_features
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.backbone_stage import BackboneStage, PartDone
from raysweep.data.features.backbones import Backbone, Preprocessing
from raysweep.data.features.decode_stage import decode_part
from raysweep.data.features.job import FeatureJob, FeatureRequest, finish, open_job
from raysweep.data.features.ray_data import plan_workers
from raysweep.data.features.shard_index import ShardIndex
from raysweep.data.features.shards import read_split
from raysweep.data.images.augment import Augmentation
from raysweep.data.images.decode import Resize
from raysweep.data.images.lists import list_images

SIZE = 8


class _Mean(nn.Module):
    """Features that say which image it was: the mean of each colour."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean((2, 3))


def backbone_of(weights_hash: str = "abc") -> Backbone:
    return Backbone(
        name="mean",
        body=_Mean(),
        classifier=nn.Identity(),
        feature_shape=(3,),
        preprocessing=Preprocessing(
            resize=Resize(size=SIZE, shorter=SIZE), mean=(0.0,) * 3, std=(1.0,) * 3
        ),
        weights_hash=weights_hash,
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """30 + 7 images of one colour each, whose red is their number; two files that are none."""
    folder = tmp_path / "images"
    for number in range(37):
        split = "train" if number < 30 else "valid"
        path = folder / split / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 10), (number * 5, 0, 0)).save(path)
    (folder / "train/a/empty.jpg").write_bytes(b"")
    (folder / "train/a/text.jpg").write_text("hello")
    return folder


def job_of(images: Path, out: Path, backbone: Backbone | None = None, **fields: Any) -> FeatureJob:
    request = FeatureRequest(images=str(images), backbone="mean", shard_rows=8, **fields)
    return open_job(request, Storage(out), list_images(str(images)), backbone or backbone_of())


def make(job: FeatureJob, count: int | None = None) -> list[str]:
    """What Ray Data does, in a row; the names of the shards that were made."""
    variants = {part.split: part.variants for part in job.parts}
    stage = BackboneStage(
        _Mean(), job.preprocessing, torch.float32, 1, job.storage.uri, job.key, variants
    )
    names = []
    for part in job.pending[:count]:
        some = len(part.positions)
        batch = {
            "name": np.array([part.name] * some, object),
            "split": np.array([part.split] * some, object),
            "count": np.full(some, some),
            "id": np.array([job.images.ids[p] for p in part.positions], object),
            "label": job.images.labels[part.positions],
        }
        decoded = decode_part(
            batch,
            root=job.images.root,
            resize=job.preprocessing.resize,
            augmentation=job.request.augmentation,
            seed=job.request.seed,
            variants=variants,
            nice=False,
        )
        names += stage(decoded)["name"]
    return names


def test_every_image_is_there_once_with_its_features_and_size(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out")
    assert len(job.parts) > 4
    make(job)
    index = finish(job)
    assert dict(index.counts) == {"train": 30, "valid": 7}
    assert index.num_quarantined == 2
    for split, numbers in (("train", range(30)), ("valid", range(30, 37))):
        rows = read_split(str(tmp_path / "out"), split)
        found = [int(name[-6:-4]) for name in rows.ids]
        assert sorted(found) == list(numbers)
        assert np.allclose(rows.features[:, 0] * 255, np.array(found) * 5, atol=0.2)
        assert [index.classes[label] for label in rows.labels] == [name[-8] for name in rows.ids]
        assert rows.widths.tolist() == [20 + number for number in found]
        assert set(rows.heights) == {10}


def test_what_could_not_be_read_is_listed_with_the_reason(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out")
    make(job)
    finish(job)
    lines = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    found = {entry["id"]: entry for entry in map(json.loads, lines)}
    assert set(found) == {"train/a/empty.jpg", "train/a/text.jpg"}
    assert found["train/a/empty.jpg"]["reason"] == "empty file"
    assert "hello" in found["train/a/text.jpg"]["reason"]
    assert found["train/a/text.jpg"]["split"] == "train"


def test_a_job_goes_on_where_it_was_left(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = job_of(images, tmp_path / "whole")
    make(whole)
    made = make(job_of(images, out), 2)
    (out / ".train-00003.parquet.abcd").write_bytes(b"half a shard of a killed process")
    with pytest.raises(UserError, match=r"parquet is missing; the same command makes it"):
        finish(job_of(images, out))
    assert not ShardIndex.read(Storage(out), complete=False).complete
    rest = job_of(images, out)
    assert not list(out.glob(".train*"))
    assert {part.name for part in rest.pending} == {p.name for p in rest.parts} - set(made)
    make(rest)
    assert finish(rest) == finish(whole)
    for part in whole.parts:
        assert (out / part.name).read_bytes() == (tmp_path / "whole" / part.name).read_bytes()
    assert not job_of(images, out).pending


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "squash"}, "preprocessing.resize.mode: crop there, squash now"),
        ({"precision": "float32"}, "precision: bfloat16 there, float32 now"),
        ({"flip": True}, "augmentation.flip: False there, True now"),
        ({"backbone": backbone_of("xyz")}, "weights_hash: abc there, xyz now"),
    ],
)
def test_another_job_is_refused_with_the_difference(
    change: dict[str, Any], message: str, images: Path, tmp_path: Path
) -> None:
    job_of(images, tmp_path / "out")
    with pytest.raises(UserError, match=message):
        job_of(images, tmp_path / "out", **change)


def test_other_images_are_refused(images: Path, tmp_path: Path) -> None:
    job_of(images, tmp_path / "out")
    shutil.copy(images / "valid/a/30.png", images / "valid/a/more.png")
    with pytest.raises(UserError, match="num_images: 39 there, 40 now"):
        job_of(images, tmp_path / "out")


def test_a_shard_of_another_job_is_never_taken(images: Path, tmp_path: Path) -> None:
    job, other = job_of(images, tmp_path / "a"), job_of(images, tmp_path / "b", resize="squash")
    make(job)
    make(other)
    shutil.copy(tmp_path / "b/train-00001.parquet", tmp_path / "a/train-00001.parquet")
    with pytest.raises(UserError, match=r"train-00001.parquet is of another job"):
        finish(job)


def test_variants_are_added_to_the_training_split(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out", flip=True, augment=2)
    make(job)
    assert dict(finish(job).counts) == {"train": 120, "valid": 7}
    rows = read_split(str(tmp_path / "out"), "train")
    assert len(set(zip(rows.ids, rows.variants.tolist(), strict=True))) == 120
    assert set(rows.variants.tolist()) == {0, -1, 1, 2}
    plain, mirrored = (rows.features[rows.variants == v].astype(float) for v in (0, -1))
    assert np.allclose(plain, mirrored, atol=2e-3)
    assert not np.allclose(plain, rows.features[rows.variants == 1].astype(float), atol=2e-3)


def test_splits_to_augment_can_be_named(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out", flip=True, augment_splits=("valid",))
    assert {part.split: part.variants for part in job.parts} == {"train": (0,), "valid": (0, -1)}
    with pytest.raises(UserError, match=r"no such split \(splits: train, valid\)"):
        job_of(images, tmp_path / "other", flip=True, augment_splits=("tset",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize": "stretch"}, "--resize stretch: use one of crop, squash"),
        ({"precision": "half"}, "--precision half"),
        ({"size": 4}, "--size 4 is out of range"),
        ({"shard_rows": 0}, "--shard-rows 0"),
        ({"augment_splits": ("train",)}, "add one of them"),
        (
            {
                "augment": 1,
                "augmentation": Augmentation(
                    rotation=0, shift=0, zoom=0, shear=0, channel_shift=0, mirror=False
                ),
            },
            "every field of them is 0",
        ),
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FeatureRequest(images="x", **fields)


def test_a_machine_without_the_folder_quarantines_nothing(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out")
    (images / "train/a/00.png").unlink()
    make(job)
    assert finish(job).num_quarantined == 3, "one file was removed meanwhile"
    job = job_of(images, tmp_path / "other")
    shutil.rmtree(images)
    with pytest.raises(UserError, match="has no folder"):
        make(job)


def test_features_beyond_half_precision_are_refused(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out")
    large = replace(job.preprocessing, std=(1e-6,) * 3)
    with pytest.raises(UserError, match="too large for float16; use other weights"):
        make(replace(job, preprocessing=large))


def test_the_progress_line_says_how_far_how_fast_and_what_limits() -> None:
    tally, line = Tally(), _Line(100, 10, quiet=True)
    for number, (wait, busy) in enumerate([(0.0, 1.0), (4.0, 1.0)]):
        tally.add(
            PartDone(
                name="",
                images=20,
                quarantined=number,
                decode_s=1.0,
                wait_s=wait,
                backbone_s=busy,
                write_s=0.1,
                processor_s=1.0,
                started=100.0 + 5 * number,
                ended=105.0 + 5 * number,
            )
        )
        text = line.text(tally)
        assert ("bottleneck: backbone" in text) == (number == 0)
    assert "50/100 images (50%) · 4.0 images/s · about 0:12 left" in text
    assert "bottleneck: reading and decoding · 1 unreadable" in text


def test_features_among_the_images_are_refused(images: Path) -> None:
    with pytest.raises(UserError, match="lies within that of the images"):
        run_features(FeatureRequest(images=str(images)), str(images / "features"), quiet=True)


def test_cut_parts_are_a_defect_that_is_noticed(images: Path, tmp_path: Path) -> None:
    job = job_of(images, tmp_path / "out")
    part = job.pending[0]
    job.pending[0] = replace(part, positions=part.positions[:-1])
    make(job)
    with pytest.raises(UserError, match="is of another job"):
        finish(job)


@pytest.mark.parametrize(
    ("nodes", "gpus", "actors", "threads", "decoders"),
    [
        ([{"CPU": 1.0}], None, 1, 1, 1),
        ([{"CPU": 2.0}], None, 2, 1, 1),
        ([{"CPU": 16.0}, {"CPU": 16.0}], None, 32, 1, 16),
        ([{"CPU": 16.0, "memory": 6 * 2**30}], None, 4, 4, 8),
        ([{"CPU": 16.0, "GPU": 2.0}], None, 2, 1, 14),
        ([{"CPU": 16.0, "GPU": 2.0}], 0, 16, 1, 8),
        ([{"CPU": 4.0, "GPU": 4.0}], None, 4, 1, 3),
        ([{"CPU": 1.0, "GPU": 1.0}], None, 1, 1, 1),
    ],
)
def test_a_cluster_is_divided_so_that_everybody_fits(
    nodes: list[dict[str, float]], gpus: int | None, actors: int, threads: int, decoders: int
) -> None:
    workers = plan_workers(nodes, gpus)
    assert (workers.num_actors, workers.threads, workers.num_decoders) == (
        actors,
        threads,
        decoders,
    )
    cpus = sum(node["CPU"] for node in nodes)
    wanted = workers.num_actors * workers.cpus + workers.num_decoders * workers.decoder_cpus
    assert 0 < wanted <= cpus
    assert workers.threads * (0 if workers.gpus else workers.num_actors) <= cpus


def test_a_cluster_without_cpus_is_refused() -> None:
    with pytest.raises(UserError, match="no node"):
        plan_workers([{"GPU": 1.0}])
