"""The space of a task: a list of ranges, which other programs get as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raysweep.search_spaces.space import Trial

__all__ = ["Parameter", "TaskSpace"]


@dataclass(frozen=True)
class Parameter:
    """A number that is searched.

    Attributes:
        name: its own.
        low: the smallest value.
        high: the largest value.
        log: whether it is searched on a logarithmic scale.
        whole: whether it is a whole number.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class TaskSpace:
    """Parameters in their order; callable as a search space is, with a trial."""

    parameters: Sequence[Parameter]

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Asks a trial for a value of each parameter."""
        return {
            p.name: trial.suggest_int(p.name, int(p.low), int(p.high), log=p.log)
            if p.whole
            else trial.suggest_float(p.name, p.low, p.high, log=p.log)
            for p in self.parameters
        }

    def as_json(self) -> list[dict[str, Any]]:
        """One dictionary a parameter."""
        return [asdict(p) for p in self.parameters]

    def row(self, params: Mapping[str, Any]) -> np.ndarray:
        """Values in the order of the parameters, [number of parameters]."""
        return np.array([float(params[p.name]) for p in self.parameters])

    def from_unit(self, unit: np.ndarray) -> np.ndarray:
        """Values, [n, number of parameters], of points in the unit cube of the same shape."""
        values = np.empty_like(unit)
        for column, p in enumerate(self.parameters):
            # A whole number has as much room on the scale as any other between two halves.
            low, high = (p.low - 0.5, p.high + 0.5) if p.whole else (p.low, p.high)
            share = unit[:, column]
            value = low * (high / low) ** share if p.log else low + (high - low) * share
            values[:, column] = np.clip(np.round(value), p.low, p.high) if p.whole else value
        return values
