"""`raysweep predict` for runs of ratings models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.question import Question
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["answer_rating"]


def answer_rating(saved: SavedRun, question: Question) -> None:
    """Prints one user's rating of one item; raises UserError where either is not named."""
    from raysweep.cluster.models import ratings as ask

    user, item = question.user, question.item
    if user is None or item is None:
        missing = [f"--{name}" for name in ("user", "item") if getattr(question, name) is None]
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, which needs a user and an "
            f"item; add {' and '.join(missing)}, e.g. `raysweep predict RUN --user 196 --item 242`"
        )
    answer = ask.predict(saved, user, item)
    if question.json:
        print(json.dumps(answer))
        return
    given = "" if answer["given"] is None else f" (gave {answer['given']:g})"
    print(f"user {user} would rate {answer['title']}: {answer['predicted']:.2f}{given}")
