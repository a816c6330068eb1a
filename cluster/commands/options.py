"""Options of the commands. Those of `tune` and `train` come from the fields of the request.

`SearchRequest` and `RunOptions` say what each field means and which values it takes; here they
become options in groups. So a field is described once, for the command line and for Python.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from raysweep.core.errors import UserError

__all__ = [
    "Address",
    "DataDir",
    "Json",
    "RunArgument",
    "StorageRoot",
    "parse_points",
    "parse_settings",
    "with_options",
]

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]", help="A run's folder, or its name in runs/; the newest by default."
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder with your copy of the data; $RAYSWEEP_DATA by default.", rich_help_panel="Data"
    ),
]
StorageRoot = Annotated[
    str,
    typer.Option(
        "--storage", envvar="RAYSWEEP_STORAGE", help="Folder of all runs, or s3://bucket/folder."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster's address, or 'auto'; this machine alone by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

# What is typed shorter than `--set epochs=…` and `--data dataset=…`, and pairs of any field.
_PAIRS: dict[str, Any] = {
    "epochs": Annotated[int | None, typer.Option(help="Passes over the training set.")],
    "settings": Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Fixes a field of the trainable, e.g. num_factors=64. Repeatable.",
        ),
    ],
    "points_to_evaluate": Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="FIELD=VALUE,…",
            help="A configuration of yours to try right after the default. Repeatable.",
        ),
    ],
    "dataset": Annotated[str | None, typer.Option(help="A known dataset, or your file or folder.")],
    "data_dir": DataDir,
    "split": Annotated[str | None, typer.Option(help="random; or time (ratings), films (imdb).")],
    "data": Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="A field of the data's configuration, e.g. split_seed=1. Repeatable.",
        ),
    ],
}
_GROUPS = {
    "Search": "search objective constraint num_samples budget until searcher deterministic "
    "scheduler grace_period reduction_factor warm_start points_to_evaluate pack target patience "
    "time_budget",
    "Metric": "metric mode",
    "Data": "dataset data_dir split data",
    "Trials": "epochs settings seed cpus gpus workers max_concurrent",
    "Where": "name storage address changed_code",
}
# How an option is shown or read where that does not follow from its field.
_SHOWN: dict[str, dict[str, Any]] = {
    "warm_start": {"metavar": "RUN"},
    "mode": {"metavar": "min|max"},
    "search": {"metavar": "RANGE"},
    "objective": {"metavar": "NAME[:min|max]"},
    "constraint": {"metavar": "LIMIT"},
    "pack": {"metavar": "N|auto|off"},
    "storage": {"envvar": "RAYSWEEP_STORAGE"},
}


def with_options(*groups: str, but: str = "") -> Callable[[Callable[..., None]], Any]:
    """Gives a command that takes `**options` one option for each field of these groups.

    Args:
        groups: of `Search`, `Metric`, `Data`, `Trials` and `Where`, in the order of the help.
        but: fields that the command has no option for.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        fields = [
            _parameter(name, group)
            for group in groups
            for name in _GROUPS[group].split()
            if name not in but.split()
        ]
        parameters = [*(p for p in own if p.kind is not p.VAR_KEYWORD), *fields]
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
        )
        return command

    return decorate


def _parameter(name: str, group: str) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    if name in _PAIRS:
        hint, info = typing.get_args(_PAIRS[name])
        info.rich_help_panel = group
        return inspect.Parameter(name, kind, default=None, annotation=Annotated[hint, info])
    field, hint = _fields()[name]
    info = typer.Option(help=field.metadata["help"], rich_help_panel=group, **_SHOWN.get(name, {}))
    default = field.default
    if typing.get_origin(hint) is tuple:
        hint, default = list[str] | None, None
    if name == "num_samples":  # 40, or the whole of a grid
        default = None
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[hint, info])


def _fields() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The fields that are options, by name, each with its type."""
    from raysweep.cluster.runs.options import RunOptions
    from raysweep.cluster.runs.request import SearchRequest

    return {
        f.name: (f, typing.get_type_hints(of)[f.name])
        for of in (SearchRequest, RunOptions)
        for f in dataclasses.fields(of)
    }


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


def parse_points(texts: list[str] | None) -> list[dict[str, Any]]:
    """Parses FIELD=VALUE,… texts; a part without = belongs to the list before it.

    Raises:
        UserError: another form.
    """
    points = []
    for text in texts or []:
        pairs: list[str] = []
        for part in text.split(","):
            if "=" in part or not pairs:
                pairs.append(part)
            else:
                pairs[-1] += f",{part}"
        points.append(parse_settings(pairs, "--try"))
    return points
