"""`raysweep predict` for runs of sentiment."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.request import PredictRequest

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["TOP", "predict_texts"]

TOP = 8


def predict_texts(saved: SavedRun, request: PredictRequest) -> None:
    """Prints the classes of texts; raises UserError where none is given or one has no words."""
    from raysweep.cluster.models.text_inputs import read_texts
    from raysweep.cluster.models.texts import classify_texts

    texts = read_texts(request.inputs, request.file, request.lines)
    top = TOP if request.top is None else request.top
    classified = classify_texts(saved, texts, top, progress=sys.stderr.isatty())
    if request.json:
        print(json.dumps([text.to_dict() for text in classified]))
        return
    from raysweep.cluster.printing.texts import print_classified

    print_classified(classified, top)
    _hint(request.inputs)


def _hint(inputs: tuple[str, ...]) -> None:
    """Prints a note where words were probably one text without its quotes, or a text a file."""
    if len(inputs) > 1 and not any(len(text.split()) > 1 for text in inputs):
        message = f"these were {len(inputs)} texts of one word; put a longer text in quotes"
        print(f"note: {message}", file=sys.stderr)
    for text in inputs:
        # A whole text may be longer than a file's name can be.
        with contextlib.suppress(OSError):
            if Path(text).is_file():
                print(f"note: {text} is also a file; --file {text} reads it", file=sys.stderr)
