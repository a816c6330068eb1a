"""The fields of image heads, and of the features that they learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.trainables.optim import TrainingConfig

__all__ = ["ImageFeaturesData", "ImageHeadConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFeaturesData(Config):
    """Which features, and how the images are split.

    A search validates on a share of the images in `train`. The test set, which `confirm` alone
    opens, is the split `test`, or `valid` where there is no `test`. Where both are there, `valid`
    validates and all of `train` trains. Where neither is, all three sets are drawn.
    """

    dataset: str = option("", "folder of shards that `raysweep features` wrote")
    data_dir: str | None = option(None, "folder that `dataset` lies in")
    validation: float = option(
        0.2, "share of the training images held out for validation", low=0.01, high=0.5
    )
    test: float = option(
        0.1, "share of all images held out as test set where no split is one", low=0.01, high=0.5
    )
    split_seed: int = option(0, "seed of the random split", low=0)
    extra: str = option("", "folder of more training rows, such as `raysweep pseudo-label` writes")
    backbone_head: bool = option(False, "read the backbone's own dense layers, for start=backbone")
    weights: str = option("", "where the backbone's weights are now, if they were moved")
    stream: bool = option(
        False, "read training features from their shards in every epoch, if memory is too small"
    )
    stream_buffer: int = option(4096, "rows that a stream shuffles at a time, at least", low=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHeadConfig(TrainingConfig):
    """Fields of the head: [pooling, image size], then dense layers, then the classes.

    At the input and after each dense layer's ReLU there may be batch normalisation, then dropout.
    `dense_batchnorm` and `dense_dropout` hold one value for all dense layers, or one each. L2 is
    λ·Σw² over the weights of all dense layers, the last one among them, once a batch.
    """

    hidden_sizes: tuple[int, ...] = option(
        (256,), "units of each dense layer; none: the classes' layer alone", low=1, high=16384
    )
    pooling: str = option(
        "flatten", "what is made of a feature map", choices=("flatten", "mean", "max")
    )
    image_size: bool = option(False, "image height and width as a second input")
    input_batchnorm: bool = option(True, "batch normalisation of the input")
    dense_batchnorm: tuple[bool, ...] = option((False,), "… after each dense layer")
    input_dropout: float = option(0.5, "share of the input dropped", low=0.0, high=0.95)
    dense_dropout: tuple[float, ...] = option(
        (0.5,), "share of units dropped after each dense layer", low=0.0, high=0.95
    )
    dense_l2: float = option(1e-4, "λ of λ·Σw² on the dense layers' weights", low=0.0)
    label_smoothing: float = option(
        0.0, "share of each label spread over all classes in training", low=0.0, high=0.9
    )
    start: str = option(
        "random",
        "first weights; backbone: those of its own dense layers, and normalisation that fits them",
        choices=("random", "backbone"),
    )
    variants: str = option(
        "all",
        "training rows besides the original images: all variants, mirror images alone, or none",
        choices=("all", "mirrored", "none"),
    )
    variant_share: float = option(
        1.0, "share of those variants used, drawn anew in each epoch", low=0.01, high=1.0
    )
    epochs: int = option(12, "passes over the training set", low=1)
    batch_size: int = option(64, "images a step", low=1)
    learning_rate: float = option(1e-3, "step size at its highest", low=1e-7, high=10.0)

    def check(self) -> None:
        """Refuses numbers of values that match no layers."""
        TrainingConfig.check(self)
        layers = len(self.hidden_sizes)
        for name in ("dense_batchnorm", "dense_dropout"):
            number = len(getattr(self, name))
            if number not in (1, layers):
                raise UserError(
                    f"{name} has {number} values for {layers} dense layers; give one, or one for "
                    "each layer"
                )

    def search_ranges(self) -> Mapping[str, Any]:
        """Features of a backbone are many and small: slower rates and stronger L2 than usual."""
        return {
            "dense_l2": (1e-7, 1e-1),
            "learning_rate": {"sgd": (1e-4, 0.3), "adam": (1e-5, 1e-2), "adagrad": (1e-4, 0.1)},
            "batch_size": [16, 32, 64, 128, 256],
        }

    def of_layers(self, name: str) -> tuple[float, ...]:
        """The values of `dense_batchnorm` or `dense_dropout`, one for each dense layer."""
        values: tuple[float, ...] = getattr(self, name)
        layers = len(self.hidden_sizes)
        return values * layers if len(values) == 1 else values
