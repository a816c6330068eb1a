"""Objectives and constraints as people write them."""

from __future__ import annotations

import math

import pytest

from raysweep.core.errors import UserError
from raysweep.core.objectives import Constraint, Objective, parse_constraint, parse_objective


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("val_loss", ("val_loss", "")),
        ("num_parameters:min", ("num_parameters", "min")),
        (" val_accuracy:max", ("val_accuracy", "max")),
    ],
)
def test_an_objective_is_read(text: str, expected: tuple[str, str]) -> None:
    assert parse_objective(text) == expected


@pytest.mark.parametrize("text", ["", ":min", "val_loss:", "val_loss:least", "a:min:max"])
def test_an_objective_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="NAME:min or NAME:max"):
        parse_objective(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("num_parameters<=2e6", Constraint("num_parameters", "<=", 2e6)),
        (" latency_ms < 5 ", Constraint("latency_ms", "<", 5.0)),
        ("val_accuracy>=0.9", Constraint("val_accuracy", ">=", 0.9)),
        ("val_accuracy>-1", Constraint("val_accuracy", ">", -1.0)),
    ],
)
def test_a_constraint_is_read_and_reads_its_own_text(text: str, expected: Constraint) -> None:
    assert parse_constraint(text) == expected
    assert parse_constraint(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["latency_ms", "latency_ms=5", "latency_ms<=", "<=5", "latency_ms<=five", "x<=inf"]
)
def test_a_constraint_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--constraint"):
        parse_constraint(text)


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("value", [-3.0, 1.9, 2.0, 2.1])
def test_the_excess_is_above_zero_exactly_where_a_constraint_is_broken(
    sign: str, value: float
) -> None:
    constraint = Constraint("x", sign, 2.0)
    compare = {"<": value < 2, "<=": value <= 2, ">": value > 2, ">=": value >= 2}
    assert constraint.holds({"x": value}) == compare[sign]
    assert (constraint.excess(value) <= 0) == compare[sign]


def test_what_is_not_known_breaks_a_constraint() -> None:
    assert not Constraint("x", "<=", 2.0).holds({})
    assert not Constraint("x", ">=", 2.0).holds({"x": math.nan})


def test_a_loss_is_small_where_the_objective_is_good() -> None:
    assert Objective("a", "min").loss(0.3) < Objective("a", "min").loss(0.4)
    assert Objective("a", "max").loss(0.4) < Objective("a", "max").loss(0.3)
