"""Configurations as points that a Gaussian process can compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysweep.cluster.search.curves.process import Floats
from raysweep.search_spaces import Suggest

__all__ = ["Encoder", "Proposal"]

_DRAWS = 256  # with which the params of a space, and on what they depend, are found out
_MIDDLE = 0.5


@dataclass(frozen=True)
class _Range:
    """What one param may be.

    Attributes:
        low, high: ends of a range of numbers.
        log: whether they are even on a logarithmic scale.
        step: of whole numbers 1 or more, of others None for any number.
        choices: of a param that is one of several things; None for numbers.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] | None = None

    def levels(self) -> int:
        """How many values there are; 0 for any number."""
        if self.choices is not None:
            return len(self.choices)
        return 0 if self.step is None else int((self.high - self.low) / self.step + 1e-9) + 1

    def value(self, unit: float) -> Any:
        """The value at a place in [0, 1]."""
        if self.choices is not None:
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        low, high = self._ends()
        number = low + unit * (high - low)
        number = math.exp(number) if self.log else number
        if self.step is None:
            number = float(f"{number:.4g}") if self.log else _rounded(number, self.high - self.low)
            return min(max(number, self.low), self.high)
        number = self.low + self.step * min(max(_nearest(number, self), 0), self.levels() - 1)
        # Without the rounding errors of sums.
        return float(f"{number:.10g}") if isinstance(self.low, float) else int(number)

    def unit(self, value: Any) -> float:
        """The place of a value in [0, 1]; whole numbers and choices at the middle of theirs."""
        if self.choices is not None:
            return (_index(value, self.choices) + 0.5) / len(self.choices)
        low, high = self._ends()
        if high <= low:
            return _MIDDLE
        number = math.log(max(float(value), 1e-300)) if self.log else float(value)
        return min(max((number - low) / (high - low), 0.0), 1.0)

    def _ends(self) -> tuple[float, float]:
        """The range in which places are even; a whole number has half a step on either side."""
        half = 0.5 * self.step if self.step is not None else 0.0
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (low, high)


def _nearest(number: float, within: _Range) -> int:
    assert within.step is not None
    return round((number - within.low) / within.step)


def _rounded(number: float, span: float) -> float:
    """Four digits of the range, as the other searchers have it."""
    digits = 4 if span >= 0.01 or span <= 0 else 4 - math.floor(math.log10(span))
    return round(number, digits)


def _index(value: Any, choices: Sequence[Any]) -> int:
    """The place of a choice; equal numbers of different types are different choices."""
    for k, choice in enumerate(choices):
        if choice is value or (type(choice) is type(value) and choice == value):
            return k
    return list(choices).index(value)


class _UnitTrial:
    """Answers a space from places in [0, 1]; notes which params were asked for, and their ranges.

    Args:
        places: by name; the middle where there is none.
    """

    def __init__(self, places: Mapping[str, float]) -> None:
        self._places = places
        self.params: dict[str, Any] = {}
        self.ranges: dict[str, _Range] = {}

    def _answer(self, name: str, within: _Range) -> Any:
        self.ranges[name] = within
        self.params[name] = within.value(self._places.get(name, _MIDDLE))
        return self.params[name]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._answer(name, _Range(float(low), float(high), log, step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._answer(name, _Range(low, high, log, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, _Range(choices=tuple(choices)))


@dataclass(frozen=True)
class Proposal:
    """A point of the space.

    Attributes:
        params: by the space's names, those that it asks for here.
        fields: of the configuration.
        features: how the process sees it, [num_features].
    """

    params: dict[str, Any]
    fields: dict[str, Any]
    features: Floats


class Encoder:
    """Turns places in the unit cube into configurations, and these into features.

    A number is one feature in [0, 1], a choice one for each thing that it can be. A param that is
    asked for in some configurations only has one more, which says whether it is; where it is not,
    its other features are the same for all. So two configurations that differ in nothing that is
    asked for are equal.

    Attributes:
        names: of all params that the space can ask for, in alphabetical order; an axis of the cube
            each.
        fields: for each feature, which param it belongs to, [num_features].

    Args:
        suggest: the space.
        seed: of the draws with which params are found.
    """

    def __init__(self, suggest: Suggest, seed: int = 0) -> None:
        self._suggest = suggest
        rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
        self._ranges: dict[str, _Range] = {}
        counts: dict[str, int] = {}
        self._fixed = True
        places: dict[str, float] = {}
        for draw in range(_DRAWS):
            trial = _UnitTrial(places)
            suggest(trial)
            for name, found in trial.ranges.items():
                known = self._ranges.setdefault(name, found)
                self._fixed &= known == found
                if known.choices and found.choices and known != found:
                    # What may be chosen depends on the rest: one feature for each thing there is.
                    more = [each for each in found.choices if each not in known.choices]
                    self._ranges[name] = _Range(choices=(*known.choices, *more))
                counts[name] = counts.get(name, 0) + 1
            # Anew for every name that is known: the next draw may find more behind them.
            places = {name: float(rng.random()) for name in sorted(self._ranges)}
            if draw == 1 and self._fixed and not self._ranges:
                break
        self.names = sorted(self._ranges)
        conditional = {name for name in self.names if counts[name] < max(counts.values())}
        self._conditional = conditional
        self._fixed &= not conditional
        fields: list[int] = []
        self._columns: list[slice] = []
        for k, name in enumerate(self.names):
            width = self._width(name)
            self._columns.append(slice(len(fields), len(fields) + width))
            fields += [k] * width
        self.fields = np.array(fields, np.int64)

    def _width(self, name: str) -> int:
        choices = self._ranges[name].choices
        return (1 if choices is None else len(choices)) + (name in self._conditional)

    @property
    def num_axes(self) -> int:
        """Axes of the cube: one for each param."""
        return len(self.names)

    def propose(self, place: Floats) -> Proposal:
        """The configuration at a place of the cube, [num_axes]."""
        trial = _UnitTrial(dict(zip(self.names, map(float, place), strict=True)))
        fields = self._suggest(trial)
        return Proposal(trial.params, fields, self.features(trial.params, trial.ranges))

    def place(self, params: Mapping[str, Any]) -> Floats:
        """Where a configuration's params lie in the cube, [num_axes]; the middle if not asked."""
        place = np.full(self.num_axes, _MIDDLE)
        for k, name in enumerate(self.names):
            if name in params:
                place[k] = self._ranges[name].unit(params[name])
        return place

    def features(
        self, params: Mapping[str, Any], ranges: Mapping[str, _Range] | None = None
    ) -> Floats:
        """A configuration's features, [num_features]."""
        row = np.zeros(len(self.fields))
        for name, columns in zip(self.names, self._columns, strict=True):
            self._write(row[columns], name, params, ranges)
        return row

    def _write(
        self,
        out: Floats,
        name: str,
        params: Mapping[str, Any],
        ranges: Mapping[str, _Range] | None,
    ) -> None:
        known = self._ranges[name]
        asked = name in params
        if name in self._conditional:
            out[-1] = 0.5 * asked
        if known.choices is not None:
            if asked and params[name] in known.choices:
                out[_index(params[name], known.choices)] = math.sqrt(0.5)
        else:
            out[0] = (ranges or {}).get(name, known).unit(params[name]) if asked else _MIDDLE

    def many(self, places: Floats) -> Floats:
        """Features of many places, [n, num_axes] to [n, num_features]."""
        if not self._fixed:
            return np.array([self.propose(place).features for place in places])
        rows = np.zeros((len(places), len(self.fields)))
        for k, (name, columns) in enumerate(zip(self.names, self._columns, strict=True)):
            known = self._ranges[name]
            if known.choices is not None:
                chosen = np.minimum(
                    (places[:, k] * len(known.choices)).astype(int), len(known.choices) - 1
                )
                rows[np.arange(len(places)), columns.start + chosen] = math.sqrt(0.5)
            elif known.step is not None:
                rows[:, columns.start] = [known.unit(known.value(p)) for p in places[:, k].tolist()]
            else:
                rows[:, columns.start] = places[:, k]
        return rows
