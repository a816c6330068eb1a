"""Asks a run's best model, in the way that its learner names.

A learner of the user's has a method `predict`. Families whose inputs take preparing with the run's
own data say by a word what their inputs are (`Learner.predictor`), and the module here does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.targets import is_target, load_target
from raysweep.trainables.learner import Learner

if TYPE_CHECKING:
    import pandas as pd

    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["OWN", "draw_learned", "predict_inputs", "way_of"]

OWN = "own"
"""The way of learners that have a method `predict`, or name a function."""

# By what the inputs are: the function of a run and its inputs that answers with a table.
_WAYS = {
    "images": "raysweep.cluster.models.images:predict_images",
    "ratings": "raysweep.cluster.models.ratings:predict_pairs",
    "texts": "raysweep.cluster.models.texts:predict_texts",
}
# What draws a picture of what the model learned, into the run's folder.
_PICTURES = {"ratings": "raysweep.cluster.models.ratings:draw_factors"}


def way_of(learner: type[Learner[Any]]) -> str:
    """How models of a family are asked: `images`, `ratings`, `texts`, `OWN`; "" for not at all.

    Raises:
        UserError: the learner names another way.
    """
    named = learner.predictor
    if named in _WAYS:
        return named
    if is_target(named):
        return OWN
    if named:
        raise UserError(f"{learner.name}: predictor = '{named}'{nearest(named, _WAYS)}")
    return "" if learner.predict is Learner.predict else OWN


def predict_inputs(run: SavedRun, inputs: Sequence[Any]) -> pd.DataFrame:
    """Asks a run's best model; a row for each input, or as many as `Learner.predict` returns.

    Args:
        run: of a family that predicts.
        inputs: one or more, as the family takes them.

    Raises:
        UserError: the family predicts nothing, or refuses an input; the run has no trained model.
    """
    way = way_of(run.request.learner)
    if not way:
        raise UserError(f"a run of {run.request.task} predicts nothing; see `raysweep --help`")
    if way != OWN:
        table: pd.DataFrame = load_target(_WAYS[way])(run, inputs)
        return table
    import torch

    learner = run.best_model()
    learner.model.eval()
    with torch.inference_mode():
        if learner.predictor:
            answers = load_target(learner.predictor)(learner, inputs)
        else:
            answers = learner.predict(inputs)
    return _table(learner.name, answers, inputs)


def draw_learned(run: SavedRun) -> list[str]:
    """Draws what the best model learned, where its family has a picture of that; addresses.

    Raises:
        UserError: this model has no such picture, or is too small for one.
    """
    way = run.request.learner.predictor
    return [load_target(_PICTURES[way])(run)] if way in _PICTURES else []


def _table(name: str, answers: Any, inputs: Sequence[Any]) -> pd.DataFrame:
    """What a method `predict` returned, as a table: a data frame, or an answer for each input."""
    import pandas as pd

    if isinstance(answers, pd.DataFrame):
        return answers
    rows = answers.tolist() if hasattr(answers, "tolist") else list(answers)
    if len(rows) != len(inputs):
        raise UserError(
            f"{name}.predict gave {len(rows)} answers to {len(inputs)} inputs; return one for "
            "each, or a data frame"
        )
    sources = [
        str(each) if isinstance(each, (str, bytes)) or hasattr(each, "__fspath__") else f"input {k}"
        for k, each in enumerate(inputs, 1)
    ]
    if all(isinstance(row, Mapping) for row in rows):
        return pd.DataFrame([{"source": s, **row} for s, row in zip(sources, rows, strict=True)])
    return pd.DataFrame({"source": sources, "predicted": rows})
