"""Options that several commands share, with their help."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raysweep.core.errors import UserError

__all__ = [
    "Address",
    "Cpus",
    "DataDir",
    "DataSettings",
    "DatasetName",
    "Epochs",
    "Gpus",
    "Json",
    "Name",
    "RunArgument",
    "Seed",
    "Settings",
    "Split",
    "StorageRoot",
    "data_settings",
    "parse_settings",
]

_DATA, _TRIALS, _WHERE = "Data", "Trials", "Where"

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]", help="A run's folder, or its name in runs/; the newest by default."
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset", help="A known dataset, or your file or folder.", rich_help_panel=_DATA
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder with your copy of the data; $RAYSWEEP_DATA by default.", rich_help_panel=_DATA
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="random; or time (ratings), films (imdb).", rich_help_panel=_DATA),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="FIELD=VALUE",
        help="A field of the data's configuration, e.g. split_seed=1. Repeatable.",
        rich_help_panel=_DATA,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Fixes a field of the trainable, e.g. num_factors=64. Repeatable.",
        rich_help_panel=_TRIALS,
    ),
]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the training set.", rich_help_panel=_TRIALS)
]
Seed = Annotated[int, typer.Option(help="Seeds searcher and training.", rich_help_panel=_TRIALS)]
Cpus = Annotated[float, typer.Option(help="CPU cores of one trial.", rich_help_panel=_TRIALS)]
Gpus = Annotated[
    float, typer.Option(help="GPUs of one trial; 0.5 for half a one.", rich_help_panel=_TRIALS)
]
Name = Annotated[
    str | None,
    typer.Option(
        help="The run's name. By default equal requests share one, so that repeating a command "
        "resumes it.",
        rich_help_panel=_WHERE,
    ),
]
StorageRoot = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="RAYSWEEP_STORAGE",
        help="Folder of all runs, or s3://bucket/folder.",
        rich_help_panel=_WHERE,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="A Ray cluster's address, or 'auto'; this machine alone by default.",
        rich_help_panel=_WHERE,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def parse_settings(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Parses FIELD=VALUE pairs; raises UserError for anything else or a field named twice."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{option} {pair!r} is not FIELD=VALUE such as num_factors=64")
        if name.strip() in settings:
            raise UserError(f"{option} {name.strip()} is given twice")
        settings[name.strip()] = value
    return settings


def data_settings(
    pairs: list[str] | None, dataset: str | None, data_dir: str | None, split: str | None
) -> dict[str, Any]:
    """The data's configuration fields from the options that name them."""
    named = {"dataset": dataset, "data_dir": data_dir, "split": split}
    settings = parse_settings(pairs, "--data")
    return settings | {name: value for name, value in named.items() if value is not None}
