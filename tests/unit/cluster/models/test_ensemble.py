"""Several heads together, and labels for images without any."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysweep.cluster.models.ensemble import measure_ensemble, pseudo_label, write_labelled
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.sets import load
from raysweep.data.features.shard_index import ShardIndex
from raysweep.data.features.shards import read_shard, read_split, write_shard
from raysweep.trainables import checkpoint
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.trial_files import BEST, trial_folder


@pytest.fixture
def run(features_folder: Path, tmp_path: Path) -> SavedRun:
    """Three trained heads, written as a search writes them."""
    data = {"dataset": str(features_folder)}
    request = SearchRequest(task="image_head", data=data, metric="val_accuracy")
    dataset = ImageHead.load_data(ImageHead.data_class.create(data))
    storage = Storage(tmp_path / "run")
    ledger = Ledger(storage, "val_accuracy", "max")
    for number in range(3):
        config = ImageHead.config_class.create(
            {"seed": number, "epochs": 8, "input_dropout": 0.0, "learning_rate": 0.01}
        )
        learner = ImageHead(config, dataset.arrays)
        ledger.add({}, config.to_dict())
        for _ in range(2 + 2 * number):
            result = Trainer(learner).run_epoch()
            ledger.result(number, result)
        header = {"config": config.to_dict(), "best": result}
        weights = {"model": learner.model.state_dict()}
        checkpoint.save(storage / trial_folder(number), BEST, weights, header)
    return SavedRun(storage, request, ledger, dataset.fingerprint, loaded=dataset)


def unlabelled(folder: Path) -> Path:
    """As made of images in no class folder; their true labels stay with the caller."""
    storage = Storage(folder)
    index = ShardIndex.read(storage)
    dataclasses.replace(index, classes=()).write(storage)
    for shard in index.shards:
        rows = read_shard(storage, shard, index.feature_shape)
        rows.labels[:] = -1
        write_shard(storage, shard.name, rows, shard.split)
    return folder


def test_an_ensemble_averages_probabilities(run: SavedRun) -> None:
    found = measure_ensemble(run, 2)
    arrays = run.dataset.arrays
    probable: list[np.ndarray] = []
    for number in found.trials:
        state, header = checkpoint.load(run.storage / trial_folder(number), BEST)
        head = ImageHead(ImageHead.config_class.create(header["config"]), arrays)
        head.model.load_state_dict(state["model"])
        head.model.eval()
        rows = (torch.from_numpy(arrays[f"val_{n}"]) for n in ("features", "sizes"))
        probable.append(head.model(*rows).softmax(1).detach().numpy())
    labels = arrays["val_labels"]
    assert found.accuracies == tuple((p.argmax(1) == labels).mean() for p in probable)
    mean = (probable[0] + probable[1]) / 2
    assert found.accuracy == (mean.argmax(1) == labels).mean()
    assert found.loss == pytest.approx(-np.log(mean[np.arange(40), labels]).mean(), rel=1e-4)
    assert json.loads(run.storage.read("ensemble.json"))["accuracy"] == found.accuracy
    assert found.trials[0] == run.ledger.ranked()[0].index
    with pytest.raises(UserError, match="has 3 trials with a result, not 5"):
        measure_ensemble(run, 5)


def test_confident_labels_train_at_the_share_asked_for(
    run: SavedRun, make_features: Callable[..., Path], features_folder: Path, tmp_path: Path
) -> None:
    new = make_features(tmp_path / "new", {"unlabelled": 120}, variants=(0, 1), seed=9)
    truth = {i: k for s in ("unlabelled",) for i, k in zip(*_ids(new, s), strict=True)}
    done = pseudo_label(run, str(unlabelled(new)), top=3, confidence=0.8, share=0.2)
    assert done.seen == 120
    assert len(done.rows) == min(done.confident, 40), "a fifth of 160 + 40"
    assert not done.rows.variants.any()
    assert (done.confidence >= 0.8).all()
    assert (np.diff(done.confidence) <= 0).all()
    right = np.mean([truth[i] == k for i, k in zip(done.rows.ids, done.rows.labels, strict=True)])
    assert right > 0.85
    write_labelled(done, str(tmp_path / "extra"))
    plain = load(str(features_folder))
    more = load(str(features_folder), extra=str(tmp_path / "extra"))
    assert len(more.train) == len(plain.train) + len(done.rows)
    assert more.validation.ids == plain.validation.ids
    assert more.fingerprint != plain.fingerprint
    np.testing.assert_array_equal(more.train.features[len(plain.train) :], done.rows.features)
    with pytest.raises(UserError, match="no label of its 120 images"):
        pseudo_label(run, str(new), confidence=1 - 1e-15)
    with pytest.raises(UserError, match="holds features already"):
        write_labelled(done, str(tmp_path / "extra"))


def _ids(folder: Path, split: str) -> tuple[list[str], list[Any]]:
    rows = read_split(str(folder), split)
    return rows.ids, rows.labels.tolist()


def test_images_that_measure_get_no_label(run: SavedRun, features_folder: Path) -> None:
    with pytest.raises(UserError, match="100 of its images are validation or test images"):
        pseudo_label(run, str(features_folder))


def test_features_of_another_network_are_refused(
    run: SavedRun, make_features: Callable[..., Path], features_folder: Path, tmp_path: Path
) -> None:
    folder = make_features(tmp_path / "other", {"x": 40}, seed=3)
    index = dataclasses.replace(ShardIndex.read(Storage(folder)), weights_hash="1")
    index.write(Storage(folder))
    with pytest.raises(UserError, match="has weights_hash 1"):
        pseudo_label(run, str(folder))
    with pytest.raises(UserError, match="has another weights_hash than the other"):
        load(str(features_folder), extra=str(folder))


@pytest.mark.parametrize("name", ["confidence", "share"])
def test_numbers_out_of_range_are_refused(run: SavedRun, name: str) -> None:
    for value in (0.0, 1.0, -1.0):
        with pytest.raises(UserError, match=f"--{name}"):
            pseudo_label(run, "nowhere", **{name: value})
