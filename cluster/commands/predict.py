"""`raysweep predict`: one command for every family that can be asked; each takes what it reads."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.options import Json, Run, StorageRoot
from data.errors import UserError

if TYPE_CHECKING:
    from cluster.runs import SavedRun

__all__ = ["register"]

_TOP = 8
_TEXTS, _RATINGS = "Texts (sentiment)", "Ratings"


@dataclass(frozen=True, kw_only=True)
class _Question:
    """The command's options, as given; those that belong to other families are None or empty."""

    inputs: tuple[str, ...] = ()
    file: str | None = None
    lines: bool = False
    top: int | None = None
    user: str | None = None
    item: str | None = None
    json: bool = False


@dataclass(frozen=True)
class _Family:
    """Runs that are asked in the same way.

    Attributes:
        learner: Their learners' base class, `module:class`: imported when it is needed.
        options: What of a question they take.
        example: A question that they answer.
        answer: Prints the answer.
    """

    learner: str
    options: tuple[str, ...]
    example: str
    answer: Callable[[SavedRun, _Question], None]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(predict)


def predict(
    run: Run = None,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help="What to look at: texts, each in quotes."),
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
            help=f"How many of the words that moved it most to name; {_TOP} by default, 0: none, "
            "which is faster.",
            min=0,
            show_default=False,
            rich_help_panel=_TEXTS,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The user's id, as in the data.", rich_help_panel=_RATINGS)
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="The item's id, as in the data.", rich_help_panel=_RATINGS)
    ] = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Ask a trained model: the class of a text and the words that moved it, or a rating.

    Example: raysweep predict RUN "a fine film, if you have the time"

    Example: raysweep predict RUN --file review.txt

    Example: raysweep predict RUN --user 196 --item 242

    Without a text or a file, a text is read from standard input.
    """
    from cluster.runs import open_run

    question = _Question(
        inputs=tuple(inputs or ()),
        file=file,
        lines=lines,
        top=top,
        user=user,
        item=item,
        json=json,
    )
    try:
        saved = open_run(run, storage)
    except UserError as error:
        if run and len(run.split()) > 1 and not inputs:
            example = 'the run comes first: `raysweep predict RUN "a fine film"`'
            raise UserError(f"{error}\n{example}") from None
        raise
    family = _family(saved)
    _check(saved, family, question)
    family.answer(saved, question)


def _family(saved: SavedRun) -> _Family:
    """The family that a run belongs to; raises UserError for a run that predicts nothing."""
    from importlib import import_module

    for family in _FAMILIES:
        module, _, name = family.learner.partition(":")
        if issubclass(saved.request.learner, getattr(import_module(module), name)):
            return family
    raise UserError(
        f"{saved.storage.uri} is a run of {saved.request.task}, which `predict` cannot ask; name a "
        "run of sentiment or of a ratings model, or see `raysweep --help` for other questions"
    )


def _check(saved: SavedRun, family: _Family, question: _Question) -> None:
    """Refuses options that are for runs of another kind."""
    flags = {"inputs": "a text", "lines": "--lines", "file": "--file", "top": "--top"}
    flags |= {"user": "--user", "item": "--item"}
    given = [name for name in flags if getattr(question, name) not in (None, (), False)]
    foreign = [flags[name] for name in given if name not in family.options]
    if foreign:
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, and {' and '.join(foreign)} "
            f"{'is' if len(foreign) == 1 else 'are'} for runs of another kind; ask e.g. "
            f"`{family.example}`"
        )


def _rating(saved: SavedRun, question: _Question) -> None:
    from cluster import ask

    user, item = question.user, question.item
    if user is None or item is None:
        missing = [f"--{name}" for name in ("user", "item") if getattr(question, name) is None]
        raise UserError(
            f"{saved.storage.uri} is a run of {saved.request.task}, which needs a user and an "
            f"item; add {' and '.join(missing)}, e.g. `raysweep predict RUN --user 196 --item 242`"
        )
    answer = ask.predict(saved, user, item)
    if question.json:
        print(json_module.dumps(answer))
        return
    given = "" if answer["given"] is None else f" (gave {answer['given']:g})"
    print(f"user {user} would rate {answer['title']}: {answer['predicted']:.2f}{given}")


def _texts(saved: SavedRun, question: _Question) -> None:
    from cluster.classify import classify
    from cluster.inputs import read_texts

    texts = read_texts(question.inputs, question.file, question.lines)
    top = _TOP if question.top is None else question.top
    answers = classify(saved, texts, top, progress=sys.stderr.isatty())
    if question.json:
        print(json_module.dumps([answer.to_dict() for answer in answers]))
        return
    from cluster.present_texts import print_classified

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


_FAMILIES = (
    _Family(
        "trainables.ratings:RatingsLearner",
        ("user", "item"),
        "raysweep predict RUN --user 196 --item 242",
        _rating,
    ),
    _Family(
        "trainables.sentiment:Sentiment",
        ("inputs", "file", "lines", "top"),
        'raysweep predict RUN "a fine film"',
        _texts,
    ),
)
