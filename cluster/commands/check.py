"""`raysweep check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raysweep.cluster.commands.options import Json, parse_settings, with_options

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(check)


@with_options("Data", "Trials", but="seed cpus workers max_concurrent")
def check(
    task: Annotated[
        str,
        typer.Argument(help="What to check: FILE.py:NAME, PACKAGE.MODULE:NAME, or a built-in one."),
    ],
    json: Json = False,
    **options: Any,
) -> None:
    """Prove on a model what raysweep promises for it, in about a minute and without Ray.

    Same seed, same numbers; killed and resumed to the last bit; nothing that leaks from trial to
    trial; a sealed test set; valid ranges; code that reaches other machines. What fails is shown
    with how to fix it.

    Ends with exit code 1 if a check failed.

    Example: raysweep check my_model.py:Net

    Example: raysweep check sentiment --set architecture=lstm --dataset my.csv
    """
    from raysweep.cluster import interface
    from raysweep.cluster.printing.check import print_checks

    settings = parse_settings(options.pop("settings"), "--set")
    data = parse_settings(options.pop("data"), "--data")
    table = interface.check(task, settings=settings, data=data, quiet=json, **options)
    print_checks(task, table, as_json=json)
    raise typer.Exit(int((table["result"] == "failed").any()))
