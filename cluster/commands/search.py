"""`raysweep tune`, `train`, `confirm` and `list`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from raysweep.cluster.commands.options import (
    Address,
    Json,
    RunArgument,
    StorageRoot,
    parse_points,
    parse_settings,
    with_options,
)
from raysweep.core.errors import UserError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(tune)
    app.command()(train)
    app.command()(confirm)
    app.command("list")(list_everything)


@with_options("Search", "Metric", "Data", "Trials", "Where")
def tune(
    task: Annotated[str, typer.Argument(help="What to train; `raysweep list` shows all.")],
    space: Annotated[
        list[str] | None, typer.Argument(help="What to search: one space or several, or --search.")
    ] = None,
    json: Json = False,
    **options: Any,
) -> None:
    """Search: try configurations, keep the best, say what mattered.

    The same command again resumes an interrupted search and repeats nothing. Nothing is chosen by
    the test set; `raysweep confirm` opens that once, at the end.

    With --workers N as many processes train each trial together: each takes its rows of every
    batch.

    Example: raysweep tune matrix_factorization l2 embedding_size --num-samples 60

    Example: raysweep tune sentiment --search learning_rate=1e-4..1e-2:log

    Example: raysweep tune sentiment filter_widths --objective val_accuracy --objective latency_ms
    """
    if not space and not options["search"]:
        raise UserError(
            "name what to search: a space (`raysweep list` shows all) or a range of a field, e.g. "
            "--search learning_rate=1e-4..1e-2:log; `raysweep train` trains one configuration"
        )
    _run({"task": task, "spaces": space, **_parsed(options)}, json)


@with_options("Metric", "Data", "Trials", "Where", but="max_concurrent")
def train(
    task: Annotated[
        str | None, typer.Argument(help="What to train; `raysweep list` shows all.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="A file with task, settings and data, as `raysweep best RUN --export config` "
            "prints it; --set and --data go before it."
        ),
    ] = None,
    json: Json = False,
    **options: Any,
) -> None:
    """Train one configuration. The same command again resumes it.

    With --workers N as many processes train one model: each takes its rows of every batch, and the
    batch size stays that of the whole batch.

    Example: raysweep train matrix_factorization --set num_factors=64 --set embedding_l2=0.05

    Example: raysweep best films --export config --out best.yaml; raysweep train --config best.yaml
    """
    _run(_given(task, config, _parsed(options)), json)


def confirm(
    run: RunArgument = None,
    top: Annotated[int, typer.Option(help="How many of the best configurations.", min=1)] = 1,
    num_seeds: Annotated[int, typer.Option(help="Fresh seeds for each.", min=2)] = 5,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Train on training and validation data together, for as many epochs as were best.",
        ),
    ] = False,
    storage: StorageRoot = "runs",
    address: Address = None,
    json: Json = False,
) -> None:
    """Retrain the best with fresh seeds, open the test set once, report mean ± 95% interval.

    The default configuration stands beside them. That the test set was opened, and when, is
    written into the run; asking again shows the same figures and trains nothing.
    """
    from raysweep.cluster.printing.search import print_confirmation
    from raysweep.cluster.runs.options import RunOptions
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.cluster.search.confirm import confirm_run

    confirmation = confirm_run(
        open_run(run, storage),
        top=top,
        num_seeds=num_seeds,
        refit=refit,
        options=RunOptions(address=address, quiet=json),
    )
    print_confirmation(confirmation, as_json=json)


def list_everything(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Trainables, also of yours (FILE.py:NAME), or spaces, to show all about.",
        ),
    ] = None,
) -> None:
    """List trainables, search spaces and datasets; of a trainable its fields and spaces.

    Those of installed packages have the package's name and version beside them.

    Example: raysweep list sentiment
    """
    from raysweep.cluster.printing.lists import print_everything, print_one

    for name in names or ():
        print_one(name)
    if not names:
        print_everything()


def _parsed(options: dict[str, Any]) -> dict[str, Any]:
    """The options as Python takes them: FIELD=VALUE pairs as dictionaries."""
    settings = parse_settings(options.pop("settings"), "--set")
    data = parse_settings(options.pop("data"), "--data")
    if "points_to_evaluate" in options:
        options["points_to_evaluate"] = parse_points(options["points_to_evaluate"])
    return {**options, "settings": settings, "data": data}


def _given(task: str | None, config: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """What to train: options before the file, and the task of one of them."""
    from raysweep.cluster.runs.listing import read_config

    if config is None:
        if task is None:
            raise UserError("name what to train, e.g. `raysweep train sentiment`, or give --config")
        return {"task": task, **options}
    file = read_config(config)
    if task not in (None, file["task"]):
        raise UserError(
            f"--config {config} is for {file['task']}, not {task}; leave one of them out"
        )
    settings, data = options["settings"], {**file["data"], **options["data"]}
    if options["epochs"] is None or "epochs" in settings:
        settings = {**file["settings"], **settings}
    else:
        settings = {**{k: v for k, v in file["settings"].items() if k != "epochs"}, **settings}
    return {**options, "task": file["task"], "settings": settings, "data": data}


def _run(given: dict[str, Any], as_json: bool) -> None:
    from raysweep.cluster.printing.lists import plugin_notes
    from raysweep.cluster.printing.search import print_search
    from raysweep.cluster.runs.options import read_options
    from raysweep.cluster.search.run import start

    names = (given["task"], *(given.get("spaces") or ()), str(given.get("dataset")))
    for note in plugin_notes(*names):
        print(f"note: {note}", file=sys.stderr)
    request, options = read_options({**given, "quiet": as_json})
    result = start(request, options)
    print_search(request, result, as_json=as_json)
    if result.interrupted:
        raise typer.Exit(130)
    if result.complete and not result.ledger.ranked():
        if any(trial.history for trial in result.ledger):
            raise UserError(
                f"no trial keeps to {' and '.join(map(str, request.constraints))}; the table says "
                "what each came to. Loosen the limit, or widen the search"
            )
        raise UserError(
            f"no trial came to a result; {result.storage.uri}/trials/00000/error.txt says why in "
            "full"
        )
