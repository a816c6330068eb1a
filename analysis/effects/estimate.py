"""What each searched field did to the metric, with intervals, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysweep.analysis.effects.columns import Column, columns
from raysweep.analysis.effects.gaussian_process import AdditiveProcess, Observations

__all__ = [
    "MIN_TRIALS",
    "Answers",
    "Effect",
    "Interaction",
    "critical_factor",
    "estimate_effects",
    "fit_trials",
]

MIN_TRIALS = 12
_MOST_TRIALS = 300  # time grows with the cube, memory with the square
_MAX_LEVELS = 4
_DRAWS = 4000
_LEAST_DRAWS = 12  # beyond a quantile, for it to be estimated
_LEVEL = 0.05  # one in twenty intervals may miss
_CELLS = 5  # values of a number at which interactions are looked at, evenly among those tried
_LEAST_SHARE = 0.5
_FAR = 6.0  # times the median distance from the best: what lies beyond counts as lying there


@dataclass(frozen=True)
class Effect:
    """A field's effect on the metric at the full number of epochs, other fields averaged over.

    Attributes:
        field: its name.
        grid: g values, numbers in order or words.
        reference: the value that others are compared with.
        gain: how much better the metric is than at the reference, [g]; above 0 is better, whether
            the metric is to be small or large.
        half_width: of the 95% interval around each gain, simultaneous over all g, [g].
        tried: what the trials had, one value each.
        log: whether the grid is even in ratios.
        stretch: by how much the interval grows to hold for all fields of the search at once.
    """

    field: str
    grid: tuple[Any, ...]
    reference: Any
    gain: np.ndarray
    half_width: np.ndarray
    tried: tuple[Any, ...]
    log: bool
    stretch: float = 1.0

    @property
    def named(self) -> bool:
        """Whether there is a verdict also where allowance is made for the number of fields."""
        wide = self.half_width * self.stretch
        return bool((_where(self.gain, wide) | _where(-self.gain, wide)).any())

    @property
    def helps(self) -> np.ndarray:
        """Where the whole interval is above 0, bool [g].

        Nowhere, if the effect is less than half of its largest there: close to the reference a
        slope is soon certain, and says little.
        """
        return _where(self.gain, self.half_width)

    @property
    def hurts(self) -> np.ndarray:
        """Where the whole interval is below 0, likewise, bool [g]."""
        return _where(-self.gain, self.half_width)

    @property
    def verdict(self) -> str:
        """helps, hurts, both (some values help, others hurt) or no measurable difference."""
        if self.helps.any():
            return "both" if self.hurts.any() else "helps"
        return "hurts" if self.hurts.any() else "no measurable difference"


def _where(gain: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    sure = np.asarray(gain - half_width > 0)
    if sure.any() and gain[sure].max() < _LEAST_SHARE * gain.max():
        return np.zeros_like(sure)
    return sure


@dataclass(frozen=True)
class Interaction:
    """What two fields do together, beyond the sum of what each does by itself.

    Attributes:
        fields: their names.
        grids: g and h values of them.
        gain: better than the sum, [g, h]; rows and columns sum to 0.
        half_width: of the 95% interval around each, simultaneous over all cells of all pairs that
            were looked at, [g, h].
    """

    fields: tuple[str, str]
    grids: tuple[tuple[Any, ...], tuple[Any, ...]]
    gain: np.ndarray
    half_width: np.ndarray

    @property
    def measurable(self) -> bool:
        """Whether somewhere the whole interval is on one side of 0."""
        return bool((np.abs(self.gain) > self.half_width).any())

    @property
    def place(self) -> tuple[int, int]:
        """The cell that is the furthest from 0 by its own interval."""
        surest = int((np.abs(self.gain) / self.half_width.clip(1e-12)).argmax())
        return divmod(surest, self.gain.shape[1])


@dataclass(frozen=True)
class Answers:
    """The process of a search's trials, and what can be asked of it.

    Attributes:
        process: the fitted process.
        trials: places of the trials that it knows, among those that were given.
    """

    process: AdditiveProcess
    trials: tuple[int, ...]

    def effects(self) -> list[Effect]:
        """One effect a column, the most important one first."""
        columns_ = self.process.columns
        level = _LEVEL / len(columns_)
        found = [_effect(self.process, k, column, level) for k, column in enumerate(columns_)]
        return sorted(found, key=lambda e: -float(np.abs(e.gain / e.half_width.clip(1e-12)).max()))

    def interactions(self, fields: Sequence[str]) -> list[Interaction]:
        """One for each pair of columns of these names, the surest one first."""
        names = [column.name for column in self.process.columns]
        places = sorted(names.index(field) for field in fields)
        pairs = [(a, b) for k, a in enumerate(places) for b in places[k + 1 :]]
        found = [_interaction(self.process, a, b, _LEVEL / len(pairs)) for a, b in pairs]
        found = [each for each in found if each.gain.size]
        return sorted(
            found, key=lambda i: -float((np.abs(i.gain) / i.half_width.clip(1e-12)).max())
        )


def fit_trials(
    configs: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[float]],
    fields: Sequence[str],
    mode: str,
    asked: Sequence[Mapping[str, Any]] = (),
) -> Answers | None:
    """Fits the process to a search's trials.

    Of more than 300 trials, 300 evenly spaced ones are used, the first and the last among them.
    Trials much worse than most (`_FAR`) count as no worse than that: a network that learned nothing
    would else outweigh all others.

    Args:
        configs: configuration of each trial, the default first.
        curves: the metric after each epoch of each trial; empty for a failed trial.
        fields: what was searched.
        mode: "min" or "max".
        asked: what the searcher chose for each trial; see `analysis.columns.columns`.

    Returns:
        None where fewer than 12 trials have a result or nothing differs.
    """
    judged = [k for k, curve in enumerate(curves) if len(curve)]
    if len(judged) < MIN_TRIALS:
        return None
    if len(judged) > _MOST_TRIALS:
        places = np.linspace(0, len(judged) - 1, _MOST_TRIALS).round().astype(int)
        judged = [judged[place] for place in places]
    chosen = [asked[k] for k in judged] if asked else ()
    found = columns([configs[k] for k in judged], fields, chosen)
    if not found:
        return None
    observations = _observe([curves[k] for k in judged], 1.0 if mode == "max" else -1.0)
    return Answers(AdditiveProcess(found, observations), tuple(judged))


def estimate_effects(
    configs: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[float]],
    fields: Sequence[str],
    mode: str,
    asked: Sequence[Mapping[str, Any]] = (),
) -> list[Effect]:
    """Estimates what each field does, the most important one first; see `fit_trials`.

    Returns:
        One effect a column of `analysis.columns.columns`; none where trials are too few.
    """
    answers = fit_trials(configs, curves, fields, mode, asked)
    return answers.effects() if answers else []


def _observe(curves: Sequence[Sequence[float]], sign: float) -> Observations:
    """The best so far of each trial at those numbers of epochs at which most trials ended."""
    lengths, counts = np.unique([len(curve) for curve in curves], return_counts=True)
    often = lengths[:-1][np.argsort(-counts[:-1], kind="stable")[: _MAX_LEVELS - 1]]
    rows = []
    for level, length in enumerate([*sorted(often), lengths[-1]]):
        for trial, curve in enumerate(curves):
            if len(curve) >= length:
                rows.append((trial, level, float(np.max(sign * np.asarray(curve[:length])))))
    trials, levels, results = (np.array(column) for column in zip(*rows, strict=True))
    for level in range(len(often) + 1):
        mine = levels == level
        results[mine] = _clipped(results[mine])
    return Observations(trials, levels, results)


def _clipped(results: np.ndarray) -> np.ndarray:
    best, middle = results.max(), np.median(results)
    return np.asarray(results.clip(best - _FAR * (best - middle)))


def _effect(process: AdditiveProcess, index: int, column: Column, level: float) -> Effect:
    grid = column.grid()
    gain, covariance = process.effect(index, grid)
    deviation = np.sqrt(covariance.diagonal().clip(0.0))
    factor = critical_factor(covariance, deviation)
    stretch = critical_factor(covariance, deviation, level) / factor
    half_width = factor * deviation
    values = (tuple(grid), column.reference, gain, half_width, column.values, column.log)
    return Effect(column.name, *values, stretch)


def _interaction(process: AdditiveProcess, a: int, b: int, level: float) -> Interaction:
    grids = [_spread(process.columns[k]) for k in (a, b)]
    shape = tuple(map(len, grids))
    names = (process.columns[a].name, process.columns[b].name)
    if min(shape) < 2:
        empty = np.zeros((0, 0))
        return Interaction(names, (tuple(grids[0]), tuple(grids[1])), empty, empty)
    gain, covariance = process.interaction(a, b, *grids)
    deviation = np.sqrt(covariance.diagonal().clip(0.0))
    half_width = critical_factor(covariance, deviation, level) * deviation
    return Interaction(
        names, (tuple(grids[0]), tuple(grids[1])), gain.reshape(shape), half_width.reshape(shape)
    )


def _spread(column: Column) -> list[Any]:
    """A few values of a column, evenly among those that the trials have."""
    if not column.numeric:
        return column.choices
    numbers = [v for v in column.values if v is not None]
    shares = np.quantile(numbers, np.linspace(0.1, 0.9, _CELLS), method="nearest")
    return sorted(set(map(float, shares)))


def critical_factor(covariance: np.ndarray, deviation: np.ndarray, level: float = _LEVEL) -> float:
    """How many deviations hold all k values at once, but for a probability of `level`.

    Args:
        covariance: of the values, [k, k].
        deviation: of each, [k]; its diagonal's roots.
        level: the probability that one of them lies outside.
    """
    used = deviation > 1e-9 * max(float(deviation.max()), 1e-12)
    if not used.any():
        return 1.96
    if level * _DRAWS < _LEAST_DRAWS:  # too rare to be drawn: allow for each value by itself
        from scipy.stats import norm

        return float(norm.ppf(1.0 - 0.5 * level / used.sum()))
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)])
    root = vectors * np.sqrt(values.clip(0.0))
    draws = np.random.default_rng(0).normal(size=(_DRAWS, len(values))) @ root.T
    return float(np.quantile(np.abs(draws / deviation[used]).max(1), 1.0 - level))
