"""`raysweep predict` for runs of a learner that has a method `predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysweep.cluster.commands.predict.request import PredictRequest
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["EXAMPLE", "predict_own"]

EXAMPLE = "raysweep predict RUN rows.csv"


def predict_own(saved: SavedRun, request: PredictRequest) -> None:
    """Prints what the model answers; raises UserError where no input is given."""
    from raysweep.cluster.models.predict import predict_inputs
    from raysweep.cluster.printing.frames import print_frame

    if not request.inputs:
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, which needs inputs, e.g. "
            f"`{EXAMPLE}`"
        )
    print_frame(predict_inputs(saved, request.inputs), as_json=request.json)
