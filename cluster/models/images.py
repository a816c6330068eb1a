"""Questions to a trained image head: classes of images, by the backbone that it learned from."""

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
    from torch import Tensor

    from raysweep.cluster.models.export import ImageClassifier
    from raysweep.cluster.runs.saved_run import SavedRun
    from raysweep.data.features.backbones import Preprocessing

__all__ = ["ClassifiedImage", "classify_images"]

_AT_ONCE = 16


@dataclass(frozen=True)
class ClassifiedImage:
    """An answer.

    Attributes:
        source: The image's path or address.
        probabilities: Of each class, 0 to 1, in the data's order; none where it was not read.
        reason: Why it was not read, or empty.
    """

    source: str
    probabilities: Mapping[str, float]
    reason: str = ""

    @property
    def likeliest_first(self) -> list[tuple[str, float]]:
        """Classes with their probabilities."""
        return sorted(self.probabilities.items(), key=lambda each: -each[1])

    @property
    def predicted(self) -> str | None:
        """The likeliest class, or None where the image was not read."""
        return self.likeliest_first[0][0] if self.probabilities else None

    def to_dict(self) -> dict[str, Any]:
        """The same as values that JSON has; `reason` only where there is one."""
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
class _Shown:
    """A decoded image: pixels uint8 [size, size, 3], and its own height and width in pixels."""

    pixels: np.ndarray
    height: int
    width: int


def classify_images(
    run: SavedRun, sources: Sequence[str], *, weights: str = "", progress: bool = False
) -> list[ClassifiedImage]:
    """Asks a run's best head about images.

    They are prepared as the run's features were: the same backbone, size, normalisation, precision
    and rounding, so that the answers are those that the stored features of an image get.

    Args:
        run: A run of image_head.
        sources: Paths and addresses of images, one or more.
        weights: Where the backbone's weights are now; where they were by default.
        progress: Whether to show progress on standard error, where it takes more than a moment.

    Returns:
        An answer for each, in their order; one with a reason for an image that cannot be read.

    Raises:
        UserError: A run without a model, or whose features or backbone are not what they were.
    """
    import torch

    from raysweep.cluster.models.export import build_classifier

    network, _ = build_classifier(run, weights)
    index = run.dataset.info.index
    look = _Look(network, index.preprocessing, index.classes)
    answers: list[ClassifiedImage] = []
    shown = progress and len(sources) > _AT_ONCE
    with (
        torch.inference_mode(),
        ThreadPoolExecutor(_AT_ONCE) as pool,
        progress_line(f"looking at {len(sources):,} images", len(sources), shown=shown) as done,
    ):
        for start in range(0, len(sources), _AT_ONCE):
            names = sources[start : start + _AT_ONCE]
            # Threads read only: they hide the latency of an object store.
            answers += look.answers(names, list(pool.map(_read, names)))
            done(len(answers))
    return answers


class _Look:
    """The backbone and the head, as the features and the run say."""

    def __init__(
        self, network: ImageClassifier, made: Mapping[str, Any], classes: Sequence[str]
    ) -> None:
        import torch

        from raysweep.data.features.backbones import Preprocessing

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        exact = made.get("precision") != "bfloat16"
        self._dtype = torch.float32 if exact else torch.bfloat16
        self._body = network.body.to(self._device, self._dtype)
        self._body = self._body.to(memory_format=torch.channels_last)
        self._head, self._classes = network.head.to(self._device), classes
        self._preprocessing: Preprocessing = Preprocessing(
            resize=Resize(**made["resize"]), mean=tuple(made["mean"]), std=tuple(made["std"])
        )

    def answers(
        self, sources: Sequence[str], contents: Sequence[bytes | str]
    ) -> list[ClassifiedImage]:
        """Answers for files' contents, in their order; for a text, that is the reason why not."""
        decoded = [self._decoded(each) for each in contents]
        good = [each for each in decoded if isinstance(each, _Shown)]
        rows = iter(self._probabilities(good).tolist() if good else [])
        return [
            ClassifiedImage(source, {}, each)
            if isinstance(each, str)
            else ClassifiedImage(source, dict(zip(self._classes, next(rows), strict=True)))
            for source, each in zip(sources, decoded, strict=True)
        ]

    def _decoded(self, content: bytes | str) -> _Shown | str:
        if isinstance(content, str):
            return content
        try:
            return _Shown(*decode(content, self._preprocessing.resize))
        except BadImage as error:
            return str(error)

    def _probabilities(self, images: Sequence[_Shown]) -> Tensor:
        """Float64 [n, classes], of n ≥ 1 images."""
        import torch

        from raysweep.data.features.backbones import normalised

        pixels = torch.from_numpy(np.stack([each.pixels for each in images])).to(self._device)
        sizes = torch.tensor([[each.height, each.width] for each in images], dtype=torch.float32)
        features = self._body(normalised(pixels, self._preprocessing, self._dtype))
        # Features are stored as float16; the head learned from those.
        scores = self._head(features.to(torch.float16), sizes.to(self._device))
        probable: Tensor = scores.double().softmax(1)
        return probable


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
