"""Configurations as columns: one a field that was searched, of numbers or of words.

A tuple of whole numbers (filter widths) is a set: a column for each member says whether it is
there. Numbers that go with its members (filters of each width), and sizes of which hardly any comes
twice, are summed. A tuple of rates becomes a column for each place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Column", "columns"]

_MOST_MEMBERS = 12
_LOG_SPAN = 10.0  # of the largest to the smallest: from here on, ratios matter, not differences


@dataclass(frozen=True)
class Column:
    """A field's values in all trials, n in number.

    Attributes:
        name: the field, or the field and a member or place of it (`3 among filter_widths`).
        values: what the trials have, [n]; None where the field is unset.
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

    def unit(self, values: Sequence[Any]) -> np.ndarray:
        """Numbers, or words of `choices`, on a scale from 0 to 1, float64 [len(values)].

        NaN stands for None. Words get their place among `choices`; only sameness means anything.
        """
        if not self.numeric:
            return np.array([float(self.choices.index(v)) for v in values])
        low, high = self.transform(self.numbers)[[0, -1]]
        scaled = (self.transform(values) - low) / ((high - low) or 1.0)
        return np.asarray(scaled, np.float64)

    def transform(self, values: Sequence[Any]) -> np.ndarray:
        """Numbers, or their logarithms where ratios matter; NaN for None."""
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

    def grid(self, points: int = 33) -> list[Any]:
        """Values to ask about, the reference among them: all words, or an even row of numbers."""
        if not self.numeric:
            return self.choices
        numbers = self.numbers
        if len(numbers) <= 3:
            return list(numbers)
        space = np.geomspace if self.log else np.linspace
        even = {float(v) for v in space(numbers[0], numbers[-1], points)}
        reference = set() if self.reference is None else {float(self.reference)}
        grid = sorted(even | reference)
        if all(isinstance(v, int) for v in self.values if v is not None):
            return sorted({round(v) for v in grid})
        return grid


def columns(
    configs: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    asked: Sequence[Mapping[str, Any]] = (),
) -> list[Column]:
    """Makes columns of those fields that differ between the configurations.

    Args:
        configs: of all trials, that of the default first.
        fields: names of fields, in the order wanted.
        asked: what the searcher chose for each trial, by the space's names. A field that was asked
            for in some trials only (`adam_learning_rate`, where the optimiser is adam) gets a
            column for each such name, unset elsewhere. None if it is not known.
    """
    found = []
    for field in fields:
        values = [config[field] for config in configs]
        conditional = _conditional(field, asked)
        if conditional:
            found += [_column(name, [a.get(name) for a in asked]) for name in conditional]
        elif any(isinstance(v, (list, tuple)) for v in values):
            found += _of_tuples(field, [tuple(v) for v in values])
        else:
            found.append(_column(field, values))
    return [column for column in found if len(set(column.values)) > 1]


def _conditional(field: str, asked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that a number was asked for by, where each is for some of the searched trials only."""
    searched = [params for params in asked if params]
    names = dict.fromkeys(name for params in searched for name in params)
    mine = [name for name in names if name == field or name.endswith(f"_{field}")]
    counts = {name: sum(name in params for params in searched) for name in mine}
    numbers = all(
        isinstance(params[name], (int, float)) and not isinstance(params[name], bool)
        for params in searched
        for name in mine
        if name in params
    )
    if not numbers or all(count == len(searched) for count in counts.values()):
        return []
    return [name for name in mine if len({p[name] for p in searched if name in p}) > 1]


def _of_tuples(field: str, values: list[tuple[Any, ...]]) -> list[Column]:
    flat = [member for value in values for member in value]
    if all(isinstance(member, float) for member in flat):
        places = min(map(len, values))
        return [_column(f"{field} {k + 1}", [v[k] for v in values]) for k in range(places)]
    members = sorted(set(flat))
    how_many = _column(f"number of {field}", [len(v) for v in values])
    if field.startswith("num_"):
        return [_column(f"{field} in all", [sum(v) for v in values])]
    if len(members) > _MOST_MEMBERS:  # sizes, not a choice among a few: hardly any comes twice
        return [_column(f"{field} in all", [sum(v) for v in values]), how_many]
    has = [_column(f"{m} among {field}", [m in v for v in values], False) for m in members]
    return [*has, how_many]


def _column(name: str, values: Sequence[Any], reference: Any = None) -> Column:
    present = [v for v in values if v is not None]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)
    if reference is None:
        reference = 0.0 if "dropout" in name and 0.0 in values else values[0]
        if reference is None and numeric and present:  # not asked for in the default's case
            reference = sorted(present)[len(present) // 2]
    positive = numeric and present and min(present) > 0
    log = bool(positive and max(present) >= _LOG_SPAN * min(present))
    return Column(name, tuple(values), reference, numeric, log)
