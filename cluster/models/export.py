"""A trained head and its backbone as one file that works without this project.

| file | read with |
| --- | --- |
| .pt2 | `torch.export.load("model.pt2").module()` |
| .pt | `torch.jit.load("model.pt")` |
| .onnx | any ONNX runtime; writing it needs the packages onnx and onnxscript |

The network takes images as they are shown: float32 [n, 3, size, size], red, green and blue from 0
to 255. It gives the classes' probabilities, float32 [n, classes]. A head that uses the image's size
takes it as a second input, float32 [n, 2]: height and width. `facts.json` in the file names the
classes and says how images were resized.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import ShardIndex
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.images.network import HeadNet

__all__ = ["FORMATS", "ImageClassifier", "build_classifier", "export_run"]

FORMATS = (".pt2", ".pt", ".onnx")


class ImageClassifier(nn.Module):
    """A network from pixels to probabilities.

    Args:
        body: the backbone up to its features.
        head: trained on them; one that uses the image's size takes it as a second input.
        mean: of red, green and blue on a scale from 0 to 1, [3].
        std: standard deviation of each, on the same scale, [3].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, head: HeadNet, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.body, self.head = body, head
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1) * 255.0)

    def forward(self, pixels: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Computes the probabilities of the classes.

        Args:
            pixels: float [n, 3, size, size], 0 to 255.
            sizes: height and width of the original images in pixels, float [n, 2], where the head
                uses them.

        Returns:
            Probabilities, float [n, classes].
        """
        features = self.body((pixels - self.mean) / self.std)
        if sizes is None:
            sizes = pixels.new_zeros(pixels.shape[0], 2)
        return self.head(features, sizes).softmax(1)


def build_classifier(run: SavedRun, weights: str = "") -> tuple[ImageClassifier, int]:
    """Puts the best head of a run on its backbone.

    Args:
        run: of image_head.
        weights: where the backbone's weights are now, if they were moved.

    Returns:
        The network in evaluation mode, and the side of its images in pixels.

    Raises:
        UserError: the run is of another kind or has no trained model, or the weights are not those
            that made its features.
    """
    from raysweep.data.features.backbones import backbone_of

    if not issubclass(run.request.learner, ImageHead):
        raise UserError(
            f"{run.storage.uri} is a run of {run.request.learner.name}; name a run of image_head"
        )
    index: ShardIndex = run.dataset.info.index
    preprocessing: Mapping[str, Any] = index.preprocessing
    backbone = backbone_of(index, weights)
    head: Any = run.best_model().model
    mean, std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
    size = int(preprocessing["resize"]["size"])
    return ImageClassifier(backbone.body, head, mean, std).eval(), size


def export_run(run: SavedRun, file: Path, weights: str = "") -> list[str]:
    """Writes the best head of a run with its backbone as one file.

    Args:
        run: of image_head.
        file: `.pt2`, `.pt` or `.onnx`.
        weights: where the backbone's weights are now, if they were moved.

    Returns:
        Names of the network's inputs.

    Raises:
        UserError: the file's name ends otherwise, packages for ONNX are missing, or as
            `build_classifier`.
    """
    if file.suffix not in FORMATS:
        raise UserError(f"{file}: use a name that ends with {', '.join(FORMATS)}")
    network, size = build_classifier(run, weights)
    # Values with a spread: batch normalisation and softmax of zeros would hide differences.
    generator = torch.Generator().manual_seed(0)
    inputs: tuple[Tensor, ...] = (torch.rand(2, 3, size, size, generator=generator) * 255,)
    if network.head.image_size:
        inputs += (torch.tensor([[300.0, 400.0], [500.0, 375.0]]),)
    names = ["pixels", "sizes"][: len(inputs)]
    facts = {
        "classes": run.dataset.info.index.classes,
        "size": size,
        "preprocessing": run.dataset.info.index.preprocessing,
    }
    with tempfile.TemporaryDirectory(prefix="raysweep-") as folder:
        written = Path(folder) / f"network{file.suffix}"
        with torch.no_grad():
            _write(network, inputs, names, written, json.dumps(facts))
        Storage(file.expanduser().absolute().parent).write(file.name, written.read_bytes())
    return names


def _write(
    network: ImageClassifier, inputs: tuple[Tensor, ...], names: list[str], file: Path, facts: str
) -> None:
    if file.suffix == ".pt":
        with warnings.catch_warnings():
            # PyTorch prefers .pt2, which older versions of it cannot read.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, inputs)
            torch.jit.save(traced, file, _extra_files={"facts.json": facts})
        return
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in names}
    program = torch.export.export(network, inputs, dynamic_shapes=shapes)
    if file.suffix == ".pt2":
        torch.export.save(program, file, extra_files={"facts.json": facts})
        return
    try:
        onnx = torch.onnx.export(
            program, inputs, input_names=names, output_names=["probabilities"], verbose=False
        )
    except ImportError as error:
        raise UserError(
            f"ONNX needs another package ({error}): pip install onnx onnxscript, or export to .pt2"
        ) from None
    assert onnx is not None
    onnx.model.metadata_props["facts"] = facts
    onnx.save(str(file), external_data=False)
