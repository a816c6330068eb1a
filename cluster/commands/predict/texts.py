"""`raysweep predict` for runs of sentiment."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.question import Question

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["TOP", "answer_texts"]

TOP = 8


def answer_texts(saved: SavedRun, question: Question) -> None:
    """Prints the classes of texts; raises UserError where none is given or one has no words."""
    from raysweep.cluster.models.text_inputs import read_texts
    from raysweep.cluster.models.texts import classify

    texts = read_texts(question.inputs, question.file, question.lines)
    top = TOP if question.top is None else question.top
    answers = classify(saved, texts, top, progress=sys.stderr.isatty())
    if question.json:
        print(json.dumps([answer.to_dict() for answer in answers]))
        return
    from raysweep.cluster.printing.texts import print_classified

    print_classified(answers, top)
    _hint(question.inputs)


def _hint(inputs: tuple[str, ...]) -> None:
    """Says so where a text was probably meant otherwise: without its quotes, or as a file."""
    if len(inputs) > 1 and not any(len(text.split()) > 1 for text in inputs):
        message = f"these were {len(inputs)} texts of one word; put a longer text in quotes"
        print(f"note: {message}", file=sys.stderr)
    for text in inputs:
        # A whole text may be longer than a file's name can be.
        with contextlib.suppress(OSError):
            if Path(text).is_file():
                print(f"note: {text} is also a file; --file {text} reads it", file=sys.stderr)
