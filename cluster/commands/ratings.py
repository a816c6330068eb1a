"""`raysweep recommend`, `rank`, `factors` and `tensorboard`."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysweep.cluster.commands.options import Json, RunArgument, StorageRoot

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["register"]

User = Annotated[str, typer.Option(help="The user's id, as in the data.")]
Top = Annotated[int, typer.Option(help="How many.", min=1)]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (recommend, rank, factors, tensorboard):
        app.command()(command)


def recommend(
    user: User,
    run: RunArgument = None,
    top: Top = 10,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Recommend the unseen items that a user would rate highest.

    Example: raysweep recommend RUN --user 196 --top 10
    """
    from raysweep.cluster.models import ratings
    from raysweep.cluster.runs.saved_run import open_run

    _show({f"for user {user}": ratings.recommend(open_run(run, storage), user, top)}, json)


def rank(
    run: RunArgument = None,
    top: Top = 10,
    most_rated: Annotated[
        int | None,
        typer.Option(
            help="Rank only so many most rated; 2000, or a quarter if there are few.", min=2
        ),
    ] = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Rank items by their bias: liked more, or less, than their users' tastes explain."""
    from raysweep.cluster.models import ratings
    from raysweep.cluster.runs.saved_run import open_run

    best, worst = ratings.rank(open_run(run, storage), top, most_rated)
    _show({"highest bias": best, "lowest bias": worst}, json)


def factors(
    run: RunArgument = None, top: Top = 10, storage: StorageRoot = "runs", json: Json = False
) -> None:
    """Explain the factors: both ends of three principal components, a picture, the projector."""
    from raysweep.cluster.models import ratings
    from raysweep.cluster.runs.projector import write_projector_files
    from raysweep.cluster.runs.saved_run import open_run

    saved = open_run(run, storage)
    ends = ratings.factor_ends(saved, top)
    _show({"principal components of the item factors": ends}, json)
    print(f"picture      {ratings.draw_factors(saved)}", file=sys.stderr)
    write_projector_files(saved)
    print(f"projector    raysweep tensorboard {saved.storage.uri}", file=sys.stderr)


def tensorboard(
    run: RunArgument = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 6006,
    storage: StorageRoot = "runs",
) -> None:
    """Show a run in TensorBoard: curves, HParams, projector.

    Of a run in an object store a copy on this machine is shown, which follows what is written.
    """
    from raysweep.cluster.runs.mirror import serve
    from raysweep.cluster.runs.saved_run import open_run

    raise typer.Exit(serve(open_run(run, storage).storage, port))


def _show(tables: dict[str, pd.DataFrame], as_json: bool) -> None:
    if as_json:
        records: dict[str, Any] = {k: t.to_dict(orient="records") for k, t in tables.items()}
        print(json_module.dumps(records, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    for title, frame in tables.items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in frame.columns:
            numeric = frame[column].dtype.kind in "if"
            table.add_column(str(column), justify="right" if numeric else "left")
        for row in frame.itertuples(index=False):
            table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
        console.print(table)
        console.print()
