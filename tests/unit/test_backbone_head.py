"""Batch normalisation for a backbone's dense layers: where it goes, and the command."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cluster import batchnorm, cli
from cluster.batchnorm import insert_into_backbone
from data.errors import UserError
from data.shards import read_split
from data.storage import Storage
from trainables import checkpoint
from trainables.backbone_head import Rows, dense_layers, dense_sites


def head_of(*layers: nn.Module) -> nn.Sequential:
    parts = OrderedDict(input=Rows((24,)), head=nn.Sequential(*layers))
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


def test_an_unknown_layer_is_refused(vgg_like: nn.Sequential, features_folder: Path) -> None:
    with pytest.raises(UserError, match=r"no layer 'head\.44'"):
        insert_into_backbone(str(features_folder), ["head.44"])
