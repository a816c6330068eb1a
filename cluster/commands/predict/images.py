"""`raysweep predict` for runs of image_head."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.request import PredictRequest
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["TOP", "predict_images"]

TOP = 2


def predict_images(saved: SavedRun, request: PredictRequest) -> None:
    """Prints the classes of images; raises UserError where none is given or none can be read."""
    from raysweep.cluster.models.image_inputs import find_images
    from raysweep.cluster.models.images import classify_images
    from raysweep.cluster.printing.images import print_images

    top = TOP if request.top is None else request.top
    if top < 1:
        raise UserError("--top 0 shows no class of an image; give 1 or more")
    sources = find_images(request.inputs)
    weights, progress = request.weights or "", sys.stderr.isatty()
    images = classify_images(saved, sources, weights=weights, progress=progress)
    if request.json:
        print(json.dumps([image.to_dict() for image in images]))
    else:
        print_images(images, top)
    if all(image.reason for image in images):
        count = "the image" if len(images) == 1 else f"any of the {len(images):,} images"
        raise UserError(f"could not read {count}; give JPEG, PNG or what else Pillow reads")
