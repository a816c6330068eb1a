"""`raysweep runs`, `show`, `diff`, `best` and `watch`: runs that are there."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from raysweep.cluster.commands.options import Json, RunArgument, StorageRoot
from raysweep.core.errors import UserError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (runs, show, diff, best, watch):
        app.command()(command)


def runs(storage: StorageRoot = "runs", json: Json = False) -> None:
    """List runs: state, best result, age and size, the newest first."""
    from dataclasses import asdict

    from raysweep.cluster.printing.runs import print_runs
    from raysweep.cluster.runs.listing import list_runs

    rows = list_runs(storage)
    if json:
        print(json_module.dumps([asdict(row) for row in rows]))
    else:
        print_runs(rows, storage)


def show(run: RunArgument = None, storage: StorageRoot = "runs", json: Json = False) -> None:
    """Show one run: what was asked for, how it stands, best beside default.

    `raysweep report` says what mattered.
    """
    from raysweep.cluster.printing.runs import print_run, run_summary
    from raysweep.cluster.runs.saved_run import open_run

    saved = open_run(run, storage)
    if json:
        print(json_module.dumps(run_summary(saved), default=str))
    else:
        print_run(saved)


def diff(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or name.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Say how two runs differ: request, data and versions, result, best configuration."""
    from raysweep.cluster.runs.listing import run_differences
    from raysweep.cluster.runs.saved_run import open_run

    differences = run_differences(open_run(first, storage), open_run(second, storage))
    if json:
        print(json_module.dumps(differences))
        return
    for kind, lines in differences.items():
        print(f"{kind}: the same" if not lines else f"{kind}:")
        for line in lines:
            print(f"  {line}")


def best(
    run: RunArgument = None,
    export: Annotated[
        str | None,
        typer.Option(help="config: print the configuration as YAML, for `train --config`."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="Write to this file instead.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT",
            help='Of those trials that keep to a limit, e.g. "num_parameters<1e6". Repeatable.',
        ),
    ] = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Show a run's best trial; with `--export config`, as a file that `train --config` takes.

    Example: raysweep best films --export config > best.yaml

    Example: raysweep best films --where "num_parameters<1e6"
    """
    from pathlib import Path

    from raysweep.cluster.printing.runs import print_best
    from raysweep.cluster.printing.search import trial_summary
    from raysweep.cluster.runs.listing import best_config
    from raysweep.cluster.runs.objectives.choice import best_where
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.core.storage import Storage

    if export not in (None, "config"):
        raise UserError(f"--export {export}: use config")
    if out and not export:
        raise UserError("--out needs something to write: add --export config")
    saved = open_run(run, storage)
    text = best_config(saved, where or ())
    trial = best_where(saved, where or ())
    if export and out:
        Storage(Path(out).absolute().parent).write(Path(out).name, text)
    elif export:
        print(text, end="")
    elif json:
        print(json_module.dumps(trial_summary(saved.ledger, trial), default=str))
    else:
        print_best(saved, trial)


def watch(
    run: RunArgument = None,
    period: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 2.0,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Follow a search that is under way, here or on a cluster, until it is over.

    A cluster's search writes to its storage, which is read here: give its address, or `--storage`.
    Ctrl-C ends watching and nothing else. With `--json` each look is a line.

    Example: raysweep watch s3://bucket/runs/films
    """
    from raysweep.cluster.printing.runs import print_run, run_summary
    from raysweep.cluster.runs.listing import watch as follow
    from raysweep.cluster.runs.saved_run import open_run

    last = open_run(run, storage)
    try:
        for seen in follow(last, period, quiet=json):
            last = seen
            if json:
                summary = run_summary(last)
                names = ("run", "state", "num_trials", "counts", "best")
                print(json_module.dumps({n: summary[n] for n in names}, default=str), flush=True)
    except KeyboardInterrupt:
        return
    if not json:
        print_run(last)
