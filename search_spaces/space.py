"""A search space: one define-by-run function, from which every searcher gets what it needs.

The function asks a `Trial` for values by its `suggest_…` methods, as with Optuna, and returns
configuration fields. What the trial gave is its params: a value for each name. A param that is
suggested in one branch only is conditional; nothing else needs to say so. Optuna's own trial serves
TPE; the small trials below draw at random, walk the whole tree for a grid, or give params that were
recorded earlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.search_spaces.fields import why_not

__all__ = [
    "Space",
    "Suggest",
    "SuggestWith",
    "Trial",
    "check_known",
    "combine",
    "grid",
    "read",
    "sample",
]


class Trial(Protocol):
    """The part of `optuna.Trial` that spaces use (see Optuna's documentation of the methods)."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number in [low, high], drawn on a logarithmic scale if `log`."""
        ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


Suggest = Callable[[Trial], dict[str, Any]]
SuggestWith = Callable[[Trial, Any], dict[str, Any]]


@dataclass(frozen=True)
class Space:
    """A question about fields, and how to suggest values for them.

    A space covers every trainable whose configuration has the fields that it needs: a model that is
    added needs no line here.

    Attributes:
        name: the word on the command line.
        question: the question in words, for help and reports.
        suggest: the define-by-run function of a trial and the configuration so far (which tells,
            for instance, how many layers there are to place dropout after).
        needs: the fields without which it makes no sense, by name or by ending such as `*_l2`; with
            a | between alternatives. None by default.
        first: whether other spaces depend on its fields: in a combination it suggests before them,
            and the configuration that they get has its fields.
    """

    name: str
    question: str
    suggest: SuggestWith
    needs: tuple[str, ...] = ()
    first: bool = False

    def covers(self, config: Any) -> bool:
        """Whether a configuration has what the space needs."""
        return not why_not(config, self.needs)

    def bind(self, trainable: str, config: Any) -> Bound:
        """Fixes the configuration, so that a function of the trial alone is left.

        Args:
            trainable: its name, e.g. `sentiment`, for messages.
            config: its configuration so far.

        Raises:
            UserError: the space does not cover the trainable; the message names what is missing.
        """
        if reason := why_not(config, self.needs):
            raise UserError(f"the space '{self.name}' is not for {trainable}: {reason}")
        return Bound(self.suggest, config, self.first)


@dataclass(frozen=True)
class Bound:
    """A space's function, and the configuration that it starts from."""

    suggest: SuggestWith
    config: Any
    first: bool = False

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """The configuration fields that the trial's params give."""
        return self.suggest(trial, self.config)

    def after(self, fields: Mapping[str, Any]) -> Bound:
        """The same function, where other spaces have set some fields already."""
        config = type(self.config).create({**self.config.to_dict(), **fields})
        return Bound(self.suggest, config, self.first)


def combine(functions: Sequence[Suggest]) -> Suggest:
    """Searches several spaces at once.

    Args:
        functions: of the spaces; those that come first (`Space.first`) suggest before the others.

    Returns:
        A function that returns the fields of all. It raises UserError when two of the spaces set
        the same field.
    """
    ordered = sorted(functions, key=lambda function: not getattr(function, "first", False))

    def suggest(trial: Trial) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        chosen_first: dict[str, Any] = {}
        for function in ordered:
            if isinstance(function, Bound) and chosen_first:
                function = function.after(chosen_first)
            fields = function(trial)
            if getattr(function, "first", False):
                chosen_first |= fields
            twice = sorted(set(merged) & set(fields))
            if twice:
                raise UserError(f"two of the spaces set {', '.join(twice)}; search them one by one")
            merged |= fields
        return merged

    return suggest


class _Recorder:
    """Base of the small trials: records every param."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def _record(self, name: str, value: Any) -> Any:
        if name in self.params:
            raise UserError(f"two of the spaces ask for '{name}'; search them one by one")
        self.params[name] = value
        return value


class _RandomTrial(_Recorder):
    """Draws each param at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self._rng = rng

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step:
            values = _steps(low, high, step)
            value = values[int(self._rng.integers(len(values)))]
        elif log:
            value = math.exp(self._rng.uniform(math.log(low), math.log(high)))
            # Four digits are precise enough for a hyperparameter, and read better in tables.
            value = min(max(float(f"{value:.4g}"), low), high)
        else:
            span = high - low
            digits = 4 if span >= 0.01 or span <= 0 else 4 - math.floor(math.log10(span))
            value = min(max(round(float(self._rng.uniform(low, high)), digits), low), high)
        return float(self._record(name, value))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if step > 1:
            value = low + step * int(self._rng.integers((high - low) // step + 1))
        elif log:
            value = int(math.exp(self._rng.uniform(math.log(low), math.log(high + 1))))
        else:
            value = int(self._rng.integers(low, high + 1))
        return int(self._record(name, min(max(value, low), high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._record(name, choices[int(self._rng.integers(len(choices)))])


class _GridTrial(_Recorder):
    """Follows a path of branch numbers, then takes first branches, noting how many there were."""

    def __init__(self, path: Sequence[int], num_values: int) -> None:
        super().__init__()
        self._path, self._num_values = path, num_values
        self.taken: list[int] = []
        self.widths: list[int] = []

    def _branch(self, name: str, values: Sequence[Any]) -> Any:
        depth = len(self.taken)
        branch = self._path[depth] if depth < len(self._path) else 0
        self.taken.append(branch)
        self.widths.append(len(values))
        return self._record(name, values[branch])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step:
            return float(self._branch(name, _steps(low, high, step)))
        space = np.geomspace if log else np.linspace
        inner = [float(f"{v:.4g}") for v in space(low, high, self._num_values)[1:-1]]
        return float(self._branch(name, [low, *inner, high]))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if step > 1:
            return int(self._branch(name, list(range(low, high + 1, step))))
        if high - low < self._num_values:
            return int(self._branch(name, list(range(low, high + 1))))
        space = np.geomspace if log else np.linspace
        values = sorted({round(float(v)) for v in space(low, high, self._num_values)})
        return int(self._branch(name, values))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._branch(name, list(choices))


def _steps(low: float, high: float, step: float) -> list[float]:
    """low, low + step, … up to high, without the rounding errors of sums."""
    count = int((high - low) / step + 1e-9) + 1
    return [float(f"{low + k * step:.10g}") for k in range(count)]


class _FixedTrial(_Recorder):
    """Gives params that were recorded earlier."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        super().__init__()
        self._recorded = recorded

    def _read(self, name: str, *_: Any, **__: Any) -> Any:
        return self._record(name, self._recorded[name])

    suggest_float = suggest_int = suggest_categorical = _read


def sample(suggest: Suggest, *seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draws one point at random, a pure function of the seed.

    Args:
        suggest: the space.
        seed: one or several whole numbers, none negative.

    Returns:
        (params, configuration fields).
    """
    trial = _RandomTrial(np.random.default_rng(np.random.SeedSequence(seed)))
    fields = suggest(trial)
    return trial.params, fields


def grid(suggest: Suggest, num_values: int = 5) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Walks every combination, conditional branches only where they apply.

    Args:
        suggest: the space.
        num_values: how many of each range, both ends among them; at least 2.

    Yields:
        (params, configuration fields), in an order that does not change.
    """
    path: list[int] = []
    while True:
        trial = _GridTrial(path, max(num_values, 2))
        fields = suggest(trial)
        yield trial.params, fields
        path = trial.taken
        for depth in reversed(range(len(path))):
            if path[depth] + 1 < trial.widths[depth]:
                path = [*path[:depth], path[depth] + 1]
                break
        else:
            return


def read(suggest: Suggest, params: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration fields of a point whose params were recorded earlier.

    Raises:
        KeyError: the space suggests a param that was not recorded.
    """
    return suggest(_FixedTrial(params))


def check_known(name: str, spaces: Mapping[str, Space], others: Sequence[str] = ()) -> Space:
    """The space of that name; raises UserError with the nearest name, also of `others`, if none."""
    if name not in spaces:
        raise UserError(f"no search space is called '{name}'{nearest(name, [*spaces, *others])}")
    return spaces[name]
