"""`raysweep tune`, `train` and `confirm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysweep.cluster.commands.options import (
    Address,
    Cpus,
    DataDir,
    DatasetName,
    DataSettings,
    Epochs,
    Gpus,
    Json,
    Name,
    RunArgument,
    Seed,
    Settings,
    Split,
    StorageRoot,
    data_settings,
    parse_settings,
)
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.runs.request import SearchRequest
    from raysweep.cluster.search.run import SearchResult

__all__ = ["register"]

_SEARCH = "Search"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(tune)
    app.command()(train)
    app.command()(confirm)
    app.command("list")(list_everything)


def tune(
    task: Annotated[str, typer.Argument(help="What to train; `raysweep list` shows all.")],
    space: Annotated[list[str], typer.Argument(help="What to search: one space or several.")],
    num_samples: Annotated[
        int | None,
        typer.Option(
            help="Trials in all, the default configuration among them; a larger number extends an "
            "earlier search. 40 by default, for grid all.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    searcher: Annotated[
        str, typer.Option(help="tpe, random or grid.", rich_help_panel=_SEARCH)
    ] = "tpe",
    scheduler: Annotated[
        str,
        typer.Option(help="asha, hyperband, median, pbt or none.", rich_help_panel=_SEARCH),
    ] = "asha",
    metric: Annotated[
        str,
        typer.Option(
            help="Validation metric to choose by; the trainable's own by default.",
            rich_help_panel=_SEARCH,
        ),
    ] = "",
    grace_period: Annotated[
        int,
        typer.Option(
            help="Epochs before the first comparison; a quarter of all by default.",
            rich_help_panel=_SEARCH,
        ),
    ] = 0,
    reduction_factor: Annotated[
        float,
        typer.Option(help="One trial in so many goes on at a rung.", rich_help_panel=_SEARCH),
    ] = 3,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="An earlier run whose results the search starts from. Repeatable.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    pack: Annotated[
        str,
        typer.Option(
            metavar="N|auto|off",
            help="Trials that train in one process on the same batches, where they differ in rates "
            "and penalties only; auto: where that is known to be faster.",
            rich_help_panel=_SEARCH,
        ),
    ] = "auto",
    time_budget: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which to pause; the same command goes on.", rich_help_panel=_SEARCH
        ),
    ] = None,
    epochs: Epochs = None,
    settings: Settings = None,
    seed: Seed = 0,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    max_concurrent: Annotated[
        int | None,
        typer.Option(help="Trials at a time; as many as fit by default.", min=1),
    ] = None,
    dataset: DatasetName = None,
    data_dir: DataDir = None,
    split: Split = None,
    data: DataSettings = None,
    name: Name = None,
    storage: StorageRoot = "runs",
    address: Address = None,
    json: Json = False,
) -> None:
    """Search: try configurations, keep the best, say what mattered.

    The same command again resumes an interrupted search and repeats nothing. Nothing is chosen by
    the test set; `raysweep confirm` opens that once, at the end.

    Example: raysweep tune matrix_factorization l2 embedding_size --num-samples 60
    """
    from raysweep.cluster.runs.request import SearchRequest

    if num_samples is None and searcher != "grid":
        num_samples = 40
    request = SearchRequest(
        task=task,
        spaces=tuple(space),
        settings=_settings(settings, epochs),
        data=data_settings(data, dataset, data_dir, split),
        searcher=searcher,
        scheduler=scheduler,
        num_samples=num_samples,
        metric=metric,
        seed=seed,
        cpus=cpus,
        gpus=gpus,
        grace_period=grace_period,
        reduction_factor=reduction_factor,
        warm_start=tuple(warm_start or ()),
    )
    _run(request, name, storage, address, json, max_concurrent, time_budget, pack=pack)


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
    workers: Annotated[
        int,
        typer.Option(
            help="Processes that share every batch; each has the --cpus and --gpus.", min=1
        ),
    ] = 1,
    epochs: Epochs = None,
    settings: Settings = None,
    seed: Seed = 0,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    dataset: DatasetName = None,
    data_dir: DataDir = None,
    split: Split = None,
    data: DataSettings = None,
    name: Name = None,
    storage: StorageRoot = "runs",
    address: Address = None,
    json: Json = False,
) -> None:
    """Train one configuration. The same command again resumes it.

    With --workers N as many processes train one model: each takes its rows of every batch, and the
    batch size stays that of the whole batch.

    Example: raysweep train matrix_factorization --set num_factors=64 --set embedding_l2=0.05

    Example: raysweep best films --export config --out best.yaml; raysweep train --config best.yaml
    """
    from raysweep.cluster.runs.request import SearchRequest

    given = _given(task, config)
    request = SearchRequest(
        task=given["task"],
        settings={**given["settings"], **_settings(settings, epochs)},
        data={**given["data"], **data_settings(data, dataset, data_dir, split)},
        num_samples=1,
        seed=seed,
        cpus=cpus,
        gpus=gpus,
    )
    _run(request, name, storage, address, json, None, None, workers)


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
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.cluster.search.confirm import confirm_run

    confirmation = confirm_run(
        open_run(run, storage),
        top=top,
        num_seeds=num_seeds,
        refit=refit,
        address=address,
        quiet=json,
    )
    print_confirmation(confirmation, as_json=json)


def list_everything() -> None:
    """List trainables, search spaces, and their fields."""
    from raysweep.cluster.printing.search import print_lists

    print_lists()


def _given(task: str | None, config: str | None) -> dict[str, Any]:
    """Task, settings and data of a file, or the task alone; raises UserError without both."""
    from raysweep.cluster.runs.listing import read_config

    if config is None:
        if task is None:
            raise UserError("name what to train, e.g. `raysweep train sentiment`, or give --config")
        return {"task": task, "settings": {}, "data": {}}
    given = read_config(config)
    if task not in (None, given["task"]):
        raise UserError(
            f"--config {config} is for {given['task']}, not {task}; leave one of them out"
        )
    return given


def _settings(pairs: list[str] | None, epochs: int | None) -> dict[str, Any]:
    settings = parse_settings(pairs, "--set")
    if epochs is not None:
        if "epochs" in settings:
            raise UserError("--epochs and --set epochs=… say the same; leave one of them out")
        settings["epochs"] = epochs
    return settings


def _run(
    request: SearchRequest,
    name: str | None,
    root: str,
    address: str | None,
    as_json: bool,
    max_concurrent: int | None,
    time_budget: float | None,
    workers: int = 1,
    pack: str = "off",
) -> None:
    from raysweep.cluster.printing.search import print_search
    from raysweep.cluster.runs.saved_run import check_name
    from raysweep.cluster.search.packing import check_pack
    from raysweep.cluster.search.run import run_search
    from raysweep.core.storage import Storage

    request = request.checked()
    check_pack(request, pack)
    storage = Storage(root) / check_name(name or request.default_name())
    result: SearchResult
    if workers > 1:
        from raysweep.cluster.search.ray_train import run_data_parallel

        result = run_data_parallel(request, storage, workers, address=address, quiet=as_json)
    else:
        result = run_search(
            request,
            storage,
            address=address,
            max_concurrent=max_concurrent,
            pack=pack,
            time_budget=time_budget,
            quiet=as_json,
        )
    print_search(request, result, as_json=as_json)
    if result.interrupted:
        raise typer.Exit(130)
    if result.complete and not result.ledger.ranked():
        raise UserError(
            f"no trial came to a result; {storage.uri}/trials/00000/error.txt says why in full"
        )
