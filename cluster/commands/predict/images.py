"""`raysweep predict` for runs of image_head."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.question import Question
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["TOP", "answer_images"]

TOP = 2


def answer_images(saved: SavedRun, question: Question) -> None:
    """Prints the classes of images; raises UserError where none was given or could be read."""
    from raysweep.cluster.models.image_inputs import find_images
    from raysweep.cluster.models.images import classify_images
    from raysweep.cluster.printing.images import print_images

    top = TOP if question.top is None else question.top
    if top < 1:
        raise UserError("--top 0 shows no class of an image; give 1 or more")
    sources = find_images(question.inputs)
    weights, progress = question.weights or "", sys.stderr.isatty()
    answers = classify_images(saved, sources, weights=weights, progress=progress)
    if question.json:
        print(json.dumps([answer.to_dict() for answer in answers]))
    else:
        print_images(answers, top)
    if all(answer.reason for answer in answers):
        count = "the image" if len(answers) == 1 else f"any of the {len(answers):,} images"
        raise UserError(f"could not read {count}; give JPEG, PNG or what else Pillow reads")
