"""Classifies images by a trained head and the backbone that made its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.core.progress_line import progress_line
from raysweep.core.storage import Storage
from raysweep.data.images.decode import BadImage, Resize, decode
from raysweep.data.images.lists import read_image

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from raysweep.cluster.models.export import ImageClassifier
    from raysweep.cluster.runs.saved_run import SavedRun
    from raysweep.data.features.backbones import Preprocessing

__all__ = ["ClassifiedImage", "classify_images", "predict_images"]

_AT_ONCE = 16


@dataclass(frozen=True)
class ClassifiedImage:
    """An image with its probable classes.

    Attributes:
        source: The image's path or address.
        probabilities: Of each class, 0 to 1, in the data's order; empty where it was not read.
        reason: Why it was not read, or empty.
    """

    source: str
    probabilities: Mapping[str, float]
    reason: str = ""

    @property
    def likeliest_first(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    @property
    def predicted(self) -> str | None:
        """The likeliest class, or None where the image was not read."""
        return self.likeliest_first[0][0] if self.probabilities else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name, as values that JSON has; `reason` only where there is one."""
        if self.reason:
            return {
                "source": self.source,
                "predicted": None,
                "probabilities": None,
                "reason": self.reason,
            }
        probabilities = dict(self.probabilities)
        return {
            "source": self.source,
            "predicted": self.predicted,
            "probabilities": probabilities,
        }


@dataclass(frozen=True)
class _Decoded:
    """A decoded image: pixels uint8 [size, size, 3], and its own height and width in pixels."""

    pixels: np.ndarray
    height: int
    width: int


def classify_images(
    run: SavedRun, sources: Sequence[str], *, weights: str = "", progress: bool = False
) -> list[ClassifiedImage]:
    """Classifies images by a run's best head.

    They are prepared as the run's features were: the same backbone, size, normalisation, precision
    and rounding, so that an image gets the same probabilities as its stored features.

    Args:
        run: A run of image_head.
        sources: Paths and addresses of images, one or more.
        weights: Where the backbone's weights are now, if they were moved.
        progress: Whether to show progress on standard error, where it takes more than a moment.

    Returns:
        One for each source, in their order; with a reason where an image cannot be read.

    Raises:
        UserError: The run has no trained model, or its features or its backbone have changed.
    """
    import torch

    from raysweep.cluster.models.export import build_classifier

    network, _ = build_classifier(run, weights)
    index = run.dataset.info.index
    classifier = _Classifier(network, index.preprocessing, index.classes)
    images: list[ClassifiedImage] = []
    shown = progress and len(sources) > _AT_ONCE
    with (
        torch.inference_mode(),
        ThreadPoolExecutor(_AT_ONCE) as pool,
        progress_line(f"classifying {len(sources):,} images", len(sources), shown=shown) as done,
    ):
        for start in range(0, len(sources), _AT_ONCE):
            names = sources[start : start + _AT_ONCE]
            # Threads read only: they hide the latency of an object store.
            images += classifier.classify(names, list(pool.map(_read, names)))
            done(len(images))
    return images


def predict_images(run: SavedRun, inputs: Sequence[Any]) -> pd.DataFrame:
    """Classifies images and folders of them.

    Returns:
        A row an image: source, predicted, `p_CLASS` of each class, and the reason where it was not
        read.
    """
    import pandas as pd

    from raysweep.cluster.models.image_inputs import find_images

    return pd.DataFrame(
        [
            {"source": each.source, "predicted": each.predicted}
            | {f"p_{name}": share for name, share in each.probabilities.items()}
            | {"reason": each.reason}
            for each in classify_images(run, find_images(tuple(map(str, inputs))))
        ]
    )


class _Classifier:
    """A backbone and a head, with the preprocessing that the features were made with."""

    def __init__(
        self, network: ImageClassifier, preprocessing: Mapping[str, Any], classes: Sequence[str]
    ) -> None:
        import torch

        from raysweep.data.features.backbones import Preprocessing

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        exact = preprocessing.get("precision") != "bfloat16"
        self._dtype = torch.float32 if exact else torch.bfloat16
        self._body = network.body.to(self._device, self._dtype)
        self._body = self._body.to(memory_format=torch.channels_last)
        self._head, self._classes = network.head.to(self._device), classes
        self._preprocessing: Preprocessing = Preprocessing(
            resize=Resize(**preprocessing["resize"]),
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
        )

    def classify(
        self, sources: Sequence[str], contents: Sequence[bytes | str]
    ) -> list[ClassifiedImage]:
        """Classifies files, given their contents or, as a text, why they could not be read."""
        decoded = [self._decoded(content) for content in contents]
        readable = [image for image in decoded if isinstance(image, _Decoded)]
        rows = iter(self._probabilities(readable).tolist() if readable else [])
        return [
            ClassifiedImage(source, {}, image)
            if isinstance(image, str)
            else ClassifiedImage(source, dict(zip(self._classes, next(rows), strict=True)))
            for source, image in zip(sources, decoded, strict=True)
        ]

    def _decoded(self, content: bytes | str) -> _Decoded | str:
        if isinstance(content, str):
            return content
        try:
            return _Decoded(*decode(content, self._preprocessing.resize))
        except BadImage as error:
            return str(error)

    def _probabilities(self, images: Sequence[_Decoded]) -> Tensor:
        """Probabilities of n ≥ 1 images, float64 [n, classes]."""
        import torch

        from raysweep.data.features.backbones import normalised

        pixels = torch.from_numpy(np.stack([image.pixels for image in images])).to(self._device)
        sizes = torch.tensor([[image.height, image.width] for image in images]).float()
        features = self._body(normalised(pixels, self._preprocessing, self._dtype))
        # Features are stored as float16; the head learned from those.
        scores = self._head(features.to(torch.float16), sizes.to(self._device))
        probabilities: Tensor = scores.double().softmax(1)
        return probabilities


def _read(source: str) -> bytes | str:
    """A file's contents, or why they cannot be read."""
    try:
        if "://" in source:
            return read_image(Storage("."), source)
        return Path(source).expanduser().read_bytes()
    except FileNotFoundError:
        return "no such file"
    except PermissionError:
        return "reading it is not allowed"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
