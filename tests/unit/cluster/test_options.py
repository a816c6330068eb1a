"""The command line and Python take the same things: what the request's fields say."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import typer.main

import raysweep
from raysweep.cluster.cli import app
from raysweep.cluster.runs.options import RunOptions, read_options
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError

SHORTHANDS = {"epochs", "dataset", "data_dir", "split"}
FIELDS: dict[str, Any] = {
    f.name: f for of in (SearchRequest, RunOptions) for f in dataclasses.fields(of)
}
# The progress line is shown unless --json is given; `show_metric` and `points` are `confirm`'s.
NOT_OPTIONS = {"quiet", "show_metric", "points", "task", "spaces", "callbacks"}


def options_of(command: str) -> dict[str, Any]:
    """The command's parameters by name, as typer made them."""
    group = typer.main.get_command(app)
    return {p.name: p for p in group.commands[command].params}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "absent"), [("tune", "config"), ("train", "max_concurrent")])
def test_python_and_the_command_line_take_the_same_things(name: str, absent: str) -> None:
    typed = set(options_of(name)) - {"json", "config", "space", "task"}
    python = set(inspect.signature(getattr(raysweep, name)).parameters)
    only_python = {"task", "spaces", "quiet", "max_concurrent", "callbacks"}
    assert typed - {"max_concurrent"} == python - only_python
    assert absent not in python


def test_every_field_of_the_request_is_an_option_of_tune_or_train() -> None:
    options = set(options_of("tune")) | set(options_of("train"))
    assert set(FIELDS) - NOT_OPTIONS <= options
    assert options - set(FIELDS) == {"json", "config", "space", "task"} - set(FIELDS) | SHORTHANDS


def test_defaults_in_python_are_those_of_the_fields() -> None:
    for name in ("tune", "train"):
        for parameter in inspect.signature(getattr(raysweep, name)).parameters.values():
            if parameter.name in FIELDS and parameter.name not in NOT_OPTIONS | {"num_samples"}:
                default = FIELDS[parameter.name].default
                if default is not dataclasses.MISSING:
                    assert parameter.default == default, (name, parameter.name)


def test_help_is_what_the_field_says() -> None:
    for name, option in options_of("tune").items():
        if name in FIELDS and name not in {"settings", "data", "storage"} | NOT_OPTIONS:
            assert option.help == FIELDS[name].metadata["help"]


def test_the_same_request_from_python_and_the_command_line_is_the_same_run() -> None:
    python = {"task": "matrix_factorization", "spaces": "l2", "cpus": 1, "reduction_factor": 3}
    typed = {**python, "spaces": ["l2"], "cpus": 1.0, "reduction_factor": 3.0, "epochs": None}
    first, second = (read_options(given)[0] for given in (python, typed))
    assert first.default_name() == second.default_name()
    assert first.num_samples == 40


def test_what_is_given_twice_or_cannot_be_a_name_is_refused() -> None:
    base = {"task": "matrix_factorization", "spaces": "l2"}
    with pytest.raises(UserError, match="leave one of them out"):
        read_options({**base, "epochs": 3, "settings": {"epochs": 4}})
    with pytest.raises(UserError, match="letters, digits"):
        read_options({**base, "name": "a/b"})
    with pytest.raises(UserError, match="--workers 0 is too small; at least 1"):
        read_options({**base, "workers": 0})
    with pytest.raises(UserError, match="--scheduler fifo: use one of asha"):
        read_options({**base, "scheduler": "fifo"})


@pytest.mark.parametrize("points", [3, [3], "width=3"])
def test_configurations_to_try_are_dictionaries(points: Any) -> None:
    base = {"task": "matrix_factorization", "spaces": "l2"}
    one = read_options({**base, "points_to_evaluate": {"embedding_l2": 0.1}})[0]
    assert one.points_to_evaluate == ({"embedding_l2": 0.1},), "one may stand alone"
    with pytest.raises(UserError, match="give dictionaries of fields and values"):
        read_options({**base, "points_to_evaluate": points})


@pytest.mark.parametrize("name", ["target", "time_budget", "cpus"])
def test_what_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} nan is no number"):
        read_options({"task": "matrix_factorization", "spaces": "l2", name: float("nan")})
