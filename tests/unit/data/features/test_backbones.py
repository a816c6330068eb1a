"""Backbones: cut where the classifier begins, filled from every source, wrong ones refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from raysweep.core.errors import UserError
from raysweep.data.features.backbone_weights import fill_in_order, read_weights
from raysweep.data.features.backbones import Preprocessing, backbone_of, load_backbone, normalised
from raysweep.data.features.shard_index import ShardIndex

TINY = "timm/test_efficientnet"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSWEEP_OFFLINE", "1")


# Loading checks that body and classifier together are the whole network.
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("squeezenet1_1", (512, 13, 13)),
        ("shufflenet_v2_x0_5", (1024,)),
        ("mobilenet_v3_small", (576,)),
        ("timm/test_vit", (64,)),
        (TINY, (256,)),
    ],
)
def test_networks_of_every_build_are_cut_after_the_last_pooling(
    name: str, shape: tuple[int, ...]
) -> None:
    backbone = load_backbone(name, "random")
    assert backbone.feature_shape == shape
    assert not backbone.body.training
    with torch.inference_mode():
        assert backbone.classifier(torch.zeros(2, *shape)).shape == (2, 1000)


@pytest.mark.timeout(60)
def test_vgg16_keeps_its_maps_and_its_dense_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    # 138 million random numbers take seconds; zeros have the same shapes.
    for initialise in ("kaiming_normal_", "normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, initialise, lambda tensor, *_, **__: tensor.detach().zero_())
    backbone = load_backbone("vgg16", "random")
    assert backbone.feature_shape == (512, 7, 7)
    linear = [m for m in backbone.classifier.modules() if isinstance(m, nn.Linear)]
    assert [layer.in_features for layer in linear] == [512 * 7 * 7, 4096, 4096]
    assert backbone.preprocessing.mean == (0.485, 0.456, 0.406)


def test_features_of_random_weights_find_their_network_again() -> None:
    made = load_backbone(TINY, "random", seed=7, size=64)
    index = ShardIndex(
        backbone=TINY,
        weights="random",
        weights_hash=made.weights_hash,
        weights_seed=7,
        preprocessing=asdict(made.preprocessing),
        feature_shape=made.feature_shape,
        classes=("a",),
    )
    found = backbone_of(index)
    assert found.weights_hash == made.weights_hash
    assert found.preprocessing.resize.size == 64
    with pytest.raises(UserError, match="not those that made the features"):
        backbone_of(replace(index, weights_seed=8))


def test_random_weights_are_those_of_the_seed() -> None:
    state = torch.random.get_rng_state()
    hashes = [load_backbone(TINY, "random", seed=seed).weights_hash for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's numbers change"


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
def test_weights_come_from_files_with_their_own_number_of_classes(
    kind: str, tmp_path: Path
) -> None:
    import timm

    network = timm.create_model("test_efficientnet", num_classes=3)
    path = tmp_path / f"w.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(network.state_dict(), path)
    elif kind == "pth":
        torch.save(network.state_dict(), path)
    else:
        inner = {f"module.{name}": value for name, value in network.state_dict().items()}
        torch.save({"state_dict": inner, "epoch": 3}, path)
    backbone = load_backbone(TINY, str(path))
    image = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        ours, theirs = backbone.classifier(backbone.body(image)), network.eval()(image)
    assert ours.shape == (1, 3)
    assert torch.allclose(ours, theirs, atol=1e-5)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled!",))


def test_files_that_are_no_weights_are_refused_and_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": _Evil()}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("evil.pth", "list.pth", "text.safetensors"):
        with pytest.raises(UserError, match="no state dict"):
            read_weights(str(tmp_path / name))
    assert "unpickled!" not in capsys.readouterr().out
    with pytest.raises(UserError, match="no such file"):
        read_weights(str(tmp_path / "nowhere.pth"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 1000).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="are not those of"):
        load_backbone(TINY, str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("vgg17", "random", "no backbone 'vgg17'; did you mean 'vgg1"),
        ("qqqq", "random", "e.g. vgg16, resnet50"),
        ("resnet18", "imagenet", "no file and no weights of this network"),
        ("vgg16_bn", "default", "RAYSWEEP_OFFLINE is set; download them where you can"),
        (TINY, "default", "RAYSWEEP_OFFLINE is set"),
    ],
)
def test_what_cannot_be_had_is_said_with_what_to_do(
    name: str, weights: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message):
        load_backbone(name, weights)


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(UserError, match="does not take images of 100 × 100 pixels"):
        load_backbone("timm/test_vit", "random", size=100)
    resize = load_backbone(TINY, "random", size=64).preprocessing.resize
    assert resize.size == 64
    assert resize.shorter >= 64


def test_state_dicts_are_matched_in_order_and_by_shape() -> None:
    theirs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    state = {f"old.{name}": value for name, value in theirs.state_dict().items()}
    ours = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    fill_in_order(ours, state)
    assert torch.equal(ours[0].weight, theirs[0].weight)
    with pytest.raises(UserError, match="entries"):
        fill_in_order(ours, dict(list(state.items())[1:]))
    with pytest.raises(UserError, match="does not fit"):
        fill_in_order(nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)), state)


def test_normalising_subtracts_and_divides_each_colour() -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = 255, 51
    preprocessing = Preprocessing(mean=(0.5, 0.5, 0.2), std=(0.5, 0.25, 1.0))
    values = normalised(torch.from_numpy(pixels), preprocessing, torch.float32)
    assert values.shape == (1, 3, 2, 2)
    assert values.is_contiguous(memory_format=torch.channels_last)
    assert values[0, :, 0, 0].tolist() == pytest.approx([1.0, -2.0, 0.0], abs=1e-6)
