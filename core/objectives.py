"""What trials are judged by: objectives, and constraints that a trial has to meet.

As people write them: `val_accuracy`, `num_parameters:min`, `latency_ms<=5`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.core.errors import UserError

__all__ = [
    "MEASURES",
    "Constraint",
    "Objective",
    "broken",
    "judged_by",
    "parse_constraint",
    "parse_objective",
]

# What can be measured of any model, by name. All are better when they are small.
MEASURES = {
    "num_parameters": "numbers that the model learns",
    "latency_ms": "median time of a forward pass of a validation batch, in milliseconds",
    "memory_mb": "peak memory of the trial's process, or on a GPU of its tensors, in megabytes",
    "time_epoch_s": "time of an epoch with its validation, in seconds",
}
_MODES = ("min", "max")
_CONSTRAINT = re.compile(r"\s*([^\s<>=]+)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")


@dataclass(frozen=True)
class Objective:
    """A metric that is to be small or large.

    Attributes:
        name: of the metric.
        mode: "min" or "max".
    """

    name: str
    mode: str

    def __str__(self) -> str:
        return f"{self.name}:{self.mode}"

    def loss(self, value: float) -> float:
        """The value as something that is to be small."""
        return float(value) if self.mode == "min" else -float(value)


@dataclass(frozen=True)
class Constraint:
    """A limit of a metric.

    Attributes:
        name: of the metric.
        sign: one of <, <=, > and >=.
        bound: the limit, in the metric's unit.
    """

    name: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.bound:.12g}"

    def holds(self, result: Mapping[str, Any]) -> bool:
        """Whether a result keeps to it; one without the metric, or with NaN, does not."""
        value = float(result.get(self.name, math.nan))
        if self.sign.startswith("<"):
            return value < self.bound or (self.sign == "<=" and value == self.bound)
        return value > self.bound or (self.sign == ">=" and value == self.bound)

    def excess(self, value: float) -> float:
        """How far a value is beyond the limit, as a share of it; above 0 exactly if it breaks it.

        Args:
            value: of the metric, finite.
        """
        over = value - self.bound if self.sign.startswith("<") else self.bound - value
        share = over / (abs(self.bound) or 1.0)
        # A value at the limit of < or > is beyond it.
        return share if self.holds({self.name: value}) else max(share, 1e-9)


def judged_by(objectives: Iterable[Objective], constraints: Iterable[Constraint]) -> list[str]:
    """The metrics that these name, each once."""
    names = [*(each.name for each in objectives), *(each.name for each in constraints)]
    return list(dict.fromkeys(names))


def broken(constraints: Sequence[Constraint], result: Mapping[str, Any]) -> str:
    """Which constraint a result breaks, the first one, in words; empty if it keeps to all."""
    for constraint in constraints:
        if not constraint.holds(result):
            return f"{constraint} does not hold: it was {result.get(constraint.name)}"
    return ""


def parse_objective(text: str) -> tuple[str, str]:
    """The name and the mode of `NAME`, `NAME:min` or `NAME:max`; without one the mode is empty.

    Raises:
        UserError: it is written in another way.
    """
    name, colon, mode = text.strip().partition(":")
    if not name.strip() or (colon and mode not in _MODES):
        raise UserError(
            f"--objective {text!r} is not NAME, NAME:min or NAME:max, such as num_parameters:min"
        )
    return name.strip(), mode


def parse_constraint(text: str, option: str = "--constraint") -> Constraint:
    """A constraint as people write it, such as `num_parameters<=2e6`.

    Args:
        text: NAME, one of <, <=, > and >=, and a number.
        option: how it was given, for the message.

    Raises:
        UserError: it is written in another way, or its limit is no finite number.
    """
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise UserError(
            f'{option} "{text}" is not NAME<=NUMBER (or <, >, >=), such as "num_parameters<=2e6"; '
            "mind the quotes, since a shell reads < and > itself"
        )
    try:
        bound = float(match[3])
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UserError(f'{option} "{text}": {match[3]} is no finite number')
    return Constraint(match[1], match[2], bound)
