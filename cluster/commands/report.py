"""`raysweep report`."""

from __future__ import annotations

from typing import Annotated

import typer

from raysweep.cluster.commands.options import Json, StorageRoot

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs' folders, or their names in runs/; several are compared; the newest by "
            "default.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder to write to; `report` in the run's folder by default."),
    ] = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Say what mattered: one page with sentences, tables and pictures; Markdown and PNG beside it.

    A search that is under way, or that had failures, is reported as far as it went. The page needs
    no network. Test figures are those that `raysweep confirm` logged, and no others.

    Example: raysweep report films
    """
    from json import dumps

    from raysweep.cluster.runs.report import write_report
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.cluster.search.curves.seen import predicted_finals
    from raysweep.core.storage import Storage

    named: list[str | None] = list(runs) if runs else [None]
    opened = [open_run(run, storage) for run in named]
    path = write_report(opened, Storage(out) if out else None, finals=predicted_finals)
    print(dumps({"report": path}) if json else f"report  {path}")
