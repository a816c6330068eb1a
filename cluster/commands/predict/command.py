"""`raysweep predict`: one command for all families; each takes the options that it can use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from raysweep.cluster.commands.options import Json, RunArgument, StorageRoot
from raysweep.cluster.commands.predict.images import TOP as TOP_CLASSES
from raysweep.cluster.commands.predict.images import predict_images
from raysweep.cluster.commands.predict.own import EXAMPLE, predict_own
from raysweep.cluster.commands.predict.ratings import predict_rating
from raysweep.cluster.commands.predict.request import PredictRequest
from raysweep.cluster.commands.predict.texts import TOP as TOP_WORDS
from raysweep.cluster.commands.predict.texts import predict_texts
from raysweep.core.errors import UserError
from raysweep.trainables import LEARNERS

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["register"]

_TEXTS, _RATINGS, _IMAGES = "Texts (sentiment)", "Ratings", "Images (image_head)"


@dataclass(frozen=True)
class _Family:
    """Runs whose models predict in the same way.

    Attributes:
        options: Fields of a `PredictRequest` that they take.
        example: A command that works for them.
        predict: Predicts and prints.
    """

    options: tuple[str, ...]
    example: str
    predict: Callable[[SavedRun, PredictRequest], None]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(predict)


def predict(
    run: RunArgument = None,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Texts, each in quotes; images and folders of images; for a model of yours what "
            "it takes, e.g. a .csv or .npy file.",
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(help="A file with one text; - for standard input.", rich_help_panel=_TEXTS),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line is a text.", rich_help_panel=_TEXTS)
    ] = False,
    top: Annotated[
        int | None,
        typer.Option(
            help="How many to name: of a text's words, those that moved it most "
            f"({TOP_WORDS} by default; 0: none, which is faster); of an image's classes, the "
            f"likeliest ({TOP_CLASSES} by default).",
            min=0,
            show_default=False,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The user's id, as in the data.", rich_help_panel=_RATINGS)
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="The item's id, as in the data.", rich_help_panel=_RATINGS)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="The backbone's weights, if they were moved.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Predict with a trained model: the classes of texts or images, or a rating.

    Example: raysweep predict RUN "a fine film, if you have the time"

    Example: raysweep predict RUN --file review.txt

    Example: raysweep predict RUN photo.jpg holidays/

    Example: raysweep predict RUN --user 196 --item 242

    Example: raysweep predict RUN rows.csv

    For a text it also names the words that mattered most. Without a text it reads standard input.
    """
    from raysweep.cluster.runs.saved_run import open_run

    request = PredictRequest(
        inputs=tuple(inputs or ()),
        file=file,
        lines=lines,
        top=top,
        user=user,
        item=item,
        weights=weights,
        json=json,
    )
    try:
        saved = open_run(run, storage)
    except UserError as error:
        if run and not inputs and (example := _example_like(run)):
            hint = f"the run comes first: `raysweep predict RUN {example}`"
            raise UserError(f"{error}\n{hint}") from None
        raise
    family = _family(saved)
    _check_options(saved, family, request)
    family.predict(saved, request)


def _example_like(run: str) -> str:
    """An input that looks like what was given as the run; empty where it may be a run's name."""
    if os.path.isfile(run):  # noqa: PTH113  (which takes what is too long for a path)
        return "photo.jpg"
    return '"a fine film"' if len(run.split()) > 1 else ""


def _family(saved: SavedRun) -> _Family:
    """The family that a run belongs to; raises UserError for a run that predicts nothing."""
    from raysweep.cluster.models.predict import way_of

    task = saved.request.task
    if way := way_of(saved.request.learner):
        return _FAMILIES[way]
    if task not in LEARNERS:
        raise UserError(
            f"{saved.storage.uri} is a run of {task}, which predicts nothing; give its class a "
            "method predict(self, inputs), see docs/your_model.md"
        )
    raise UserError(
        f"{saved.storage.uri} is a run of {task}, which predicts nothing; name a "
        "run of sentiment, of image_head or of a ratings model, or see `raysweep --help` for other "
        "commands"
    )


def _check_options(saved: SavedRun, family: _Family, request: PredictRequest) -> None:
    """Refuses options that are for runs of another kind; raises UserError."""
    flags = {"inputs": "a text or an image", "lines": "--lines", "file": "--file", "top": "--top"}
    flags |= {"user": "--user", "item": "--item", "weights": "--weights"}
    given = [name for name in flags if getattr(request, name) not in (None, (), False)]
    foreign = [flags[name] for name in given if name not in family.options]
    if foreign:
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, and {' and '.join(foreign)} "
            f"{'is' if len(foreign) == 1 else 'are'} for runs of another kind; write e.g. "
            f"`{family.example}`"
        )


# By the way that a learner names; see `cluster.models.predict`.
_FAMILIES = {
    "ratings": _Family(
        ("user", "item"), "raysweep predict RUN --user 196 --item 242", predict_rating
    ),
    "texts": _Family(
        ("inputs", "file", "lines", "top"), 'raysweep predict RUN "a fine film"', predict_texts
    ),
    "images": _Family(
        ("inputs", "top", "weights"), "raysweep predict RUN photo.jpg", predict_images
    ),
    "own": _Family(("inputs",), EXAMPLE, predict_own),
}
