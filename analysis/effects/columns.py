"""Configurations as columns: one for each field that was searched, of numbers or of words.

A tuple of whole numbers (filter widths) is a set: a column for each member says whether it is
there. Numbers that go with its members (filters of each width), and sizes of which hardly any
occurs twice, are summed. A tuple of rates becomes a column for each of its elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Column", "make_columns"]

_MAX_MEMBERS = 12
_LOG_SPAN = 10.0  # of the largest to the smallest: from here on, ratios matter, not differences


@dataclass(frozen=True)
class Column:
    """A field's values in all trials, n in number.

    Attributes:
        name: the field, or the field and a member or element of it (`3 among filter_widths`,
            `dense_dropout 2`).
        values: what the trials have, n of them; None where the field is unset.
        reference: what others are compared with: 0 of a dropout rate, else the default's value; the
            middle of what was tried, where the default has none.
        numeric: whether the values are numbers, so that near ones act alike.
        log: whether nearness is of ratios.
    """

    name: str
    values: tuple[Any, ...]
    reference: Any
    numeric: bool
    log: bool = False

    def scaled(self, values: Sequence[Any]) -> np.ndarray:
        """Numbers on a scale from 0 to 1, NaN for None; words as their indices among `choices`.

        Of indices of words, only whether they are the same means anything.

        Args:
            values: k numbers, or words of `choices`.

        Returns:
            Float64 [k].
        """
        if not self.numeric:
            return np.array([float(self.choices.index(v)) for v in values])
        low, high = self.transform(self.numbers)[[0, -1]]
        scaled = (self.transform(values) - low) / ((high - low) or 1.0)
        return np.asarray(scaled, np.float64)

    def transform(self, values: Sequence[Any]) -> np.ndarray:
        """K numbers, or their logarithms where ratios matter, float64 [k]; NaN for None."""
        plain = np.array([math.nan if v is None else float(v) for v in values])
        return np.log(plain) if self.log else plain

    @property
    def numbers(self) -> list[float]:
        """The distinct numbers, sorted."""
        return sorted({float(v) for v in self.values if v is not None})

    @property
    def choices(self) -> list[Any]:
        """The distinct words, in order of appearance."""
        return list(dict.fromkeys([self.reference, *self.values]))

    def grid(self, num_points: int = 33) -> list[Any]:
        """Values to estimate the effect at, the reference among them.

        Args:
            num_points: of a range of numbers, evenly spaced; the reference may be one more. Up to 3
                distinct numbers, and words, are taken as they are.
        """
        if not self.numeric:
            return self.choices
        numbers = self.numbers
        if len(numbers) <= 3:
            return list(numbers)
        space = np.geomspace if self.log else np.linspace
        even = {float(v) for v in space(numbers[0], numbers[-1], num_points)}
        reference = set() if self.reference is None else {float(self.reference)}
        grid = sorted(even | reference)
        if all(isinstance(v, int) for v in self.values if v is not None):
            return sorted({round(v) for v in grid})
        return grid


def make_columns(
    configs: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    params: Sequence[Mapping[str, Any]] = (),
) -> list[Column]:
    """Makes columns of those fields that differ between the configurations.

    Args:
        configs: of all n trials, that of the default first.
        fields: names of fields, in the order wanted.
        params: what the searcher chose for each trial, by the space's names, n of them. A field
            whose param only some trials have (`adam_learning_rate`, where the optimiser is adam)
            gets a column for each such param, unset elsewhere. Empty if they are not known.
    """
    columns = []
    for field in fields:
        values = [config[field] for config in configs]
        conditional = _conditional_params(field, params)
        if conditional:
            columns += [_column(name, [p.get(name) for p in params]) for name in conditional]
        elif any(isinstance(v, (list, tuple)) for v in values):
            columns += _tuple_columns(field, [tuple(v) for v in values])
        else:
            columns.append(_column(field, values))
    return [column for column in columns if len(set(column.values)) > 1]


def _conditional_params(field: str, params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Params that give a field its number, where each is set in some searched trials only."""
    searched = [trial_params for trial_params in params if trial_params]
    names = dict.fromkeys(name for trial_params in searched for name in trial_params)
    own = [name for name in names if name == field or name.endswith(f"_{field}")]
    counts = {name: sum(name in trial_params for trial_params in searched) for name in own}
    numeric = all(
        isinstance(trial_params[name], (int, float)) and not isinstance(trial_params[name], bool)
        for trial_params in searched
        for name in own
        if name in trial_params
    )
    if not numeric or all(count == len(searched) for count in counts.values()):
        return []
    return [name for name in own if len({p[name] for p in searched if name in p}) > 1]


def _tuple_columns(field: str, values: list[tuple[Any, ...]]) -> list[Column]:
    members = [member for value in values for member in value]
    if all(isinstance(member, float) for member in members):
        num_elements = min(map(len, values))
        return [_column(f"{field} {k + 1}", [v[k] for v in values]) for k in range(num_elements)]
    distinct = sorted(set(members))
    length = _column(f"number of {field}", [len(v) for v in values])
    if field.startswith("num_"):
        return [_column(f"{field} in all", [sum(v) for v in values])]
    if len(distinct) > _MAX_MEMBERS:  # sizes, not a choice among a few: hardly any occurs twice
        return [_column(f"{field} in all", [sum(v) for v in values]), length]
    has = [_column(f"{m} among {field}", [m in v for v in values], False) for m in distinct]
    return [*has, length]


def _column(name: str, values: Sequence[Any], reference: Any = None) -> Column:
    present = [v for v in values if v is not None]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)
    if reference is None:
        reference = 0.0 if "dropout" in name and 0.0 in values else values[0]
        if reference is None and numeric and present:  # the default has no such param
            reference = sorted(present)[len(present) // 2]
    positive = numeric and present and min(present) > 0
    log = bool(positive and max(present) >= _LOG_SPAN * min(present))
    return Column(name, tuple(values), reference, numeric, log)
