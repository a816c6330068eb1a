"""`raysweep predict` for runs of ratings models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.request import PredictRequest
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["predict_rating"]


def predict_rating(saved: SavedRun, request: PredictRequest) -> None:
    """Prints a user's predicted rating of an item; raises UserError where one is not named."""
    from raysweep.cluster.models import ratings

    user, item = request.user, request.item
    if user is None or item is None:
        missing = [f"--{name}" for name in ("user", "item") if getattr(request, name) is None]
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, which needs a user and an "
            f"item; add {' and '.join(missing)}, e.g. `raysweep predict RUN --user 196 --item 242`"
        )
    rating = ratings.predict(saved, user, item)
    if request.json:
        print(json.dumps(rating))
        return
    given = "" if rating["given"] is None else f" (gave {rating['given']:g})"
    print(f"user {user} would rate {rating['title']}: {rating['predicted']:.2f}{given}")
