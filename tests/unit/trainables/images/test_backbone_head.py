"""Batch normalisation for a backbone's dense layers: where it goes, and the command."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from raysweep.cluster import cli
from raysweep.cluster.models import batchnorm
from raysweep.cluster.models.batchnorm import insert_into_backbone
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features import backbones
from raysweep.data.features.backbones import Preprocessing, normalised
from raysweep.data.features.shards import read_split
from raysweep.data.images.decode import Resize, decode
from raysweep.data.images.lists import list_images
from raysweep.trainables import checkpoint
from raysweep.trainables.images.backbone_head import ReshapeRows, dense_layers, dense_sites


def head_of(*layers: nn.Module) -> nn.Sequential:
    parts = OrderedDict(input=ReshapeRows((24,)), head=nn.Sequential(*layers))
    return nn.Sequential(parts).eval()


@pytest.fixture
def vgg_like(monkeypatch: pytest.MonkeyPatch) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [nn.Linear(24, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 8), nn.ReLU(True)]
    head = head_of(*hidden, nn.Dropout(), nn.Linear(8, 3))
    monkeypatch.setattr(batchnorm, "backbone_head", lambda index, weights: head)
    return head


def test_normalisation_goes_after_each_hidden_activation(vgg_like: nn.Sequential) -> None:
    assert dense_sites(vgg_like) == ["head.1", "head.4"]
    assert dense_sites(head_of(nn.Linear(24, 3))) == ["input"]
    assert dense_sites(head_of(nn.Linear(24, 4), nn.Dropout(), nn.Linear(4, 3))) == ["head.0"]
    assert [layer.out_features for layer in dense_layers(vgg_like)] == [16, 8, 3]


def test_the_statistics_are_those_of_the_training_rows(
    vgg_like: nn.Sequential, features_folder: Path
) -> None:
    done = insert_into_backbone(str(features_folder))
    assert (done.names, done.channels, done.rows) == (("head.1", "head.4"), (16, 8), 600)
    assert done.change.relative < 1e-5
    features = torch.from_numpy(read_split(str(features_folder), "train").features).float()
    values = vgg_like.head[:2](features.flatten(1)).detach().double()
    layer = done.network.get_submodule("head.1.1")
    torch.testing.assert_close(layer.running_var.double(), values.var(0, False), rtol=1e-6, atol=0)
    torch.testing.assert_close(layer.bias.double(), values.mean(0), rtol=1e-6, atol=1e-8)


def test_the_command_saves_the_network_and_says_what_changed(
    vgg_like: nn.Sequential,
    features_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "head.safetensors"
    arguments = ["batchnorm", str(features_folder), str(out), "--after", "head.4", "--json"]
    monkeypatch.setattr("sys.argv", ["raysweep", *arguments])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["channels"] == {"head.4": 8}
    assert 0 <= said["largest_change"] < 1e-5 * said["spread"]
    state, header = checkpoint.load(Storage(tmp_path), out.name)
    assert header["batchnorm_after"] == ["head.4"]
    assert state["model"]["head.4.1.running_var"].shape == (8,)


def test_images_measure_the_whole_network_convolutions_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("valid", 3)):
        for number in range(count):
            folder = tmp_path / split / "abc"[number % 3]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, size=(40, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"no image")
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU()).eval()
    classifier = SimpleNamespace(head=nn.Sequential(nn.Linear(24, 3)), shape=(24,))
    preprocessing = Preprocessing(resize=Resize(size=8, shorter=8))
    made = SimpleNamespace(
        body=body, classifier=classifier, preprocessing=preprocessing, weights_hash="7"
    )
    monkeypatch.setattr(backbones, "load_backbone", lambda name, weights: made)
    done = insert_into_backbone(str(tmp_path), ["body.0", "input"], backbone="tiny")
    assert (done.rows, done.channels, done.weights_hash) == (21, (6, 24), "7")
    assert done.change.relative < 1e-5
    listed = list_images(str(tmp_path))
    shown = [
        decode((tmp_path / name).read_bytes(), preprocessing.resize)[0]
        for name, split in zip(listed.ids, listed.splits, strict=True)
        if split == "train" and "broken" not in name
    ]
    values = body[0](normalised(torch.from_numpy(np.stack(shown)), preprocessing, torch.float32))
    found = done.network.get_submodule("body.0.1").running_mean
    torch.testing.assert_close(found, values.detach().mean((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_features_are_not_another_networks(vgg_like: nn.Sequential, features_folder: Path) -> None:
    with pytest.raises(UserError, match="are tiny's; leave --backbone out"):
        insert_into_backbone(str(features_folder), backbone="vgg16")


def test_an_unknown_layer_is_refused(vgg_like: nn.Sequential, features_folder: Path) -> None:
    with pytest.raises(UserError, match=r"no layer 'head\.44'"):
        insert_into_backbone(str(features_folder), ["head.44"])
