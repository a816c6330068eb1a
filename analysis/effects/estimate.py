"""Estimates what each searched field did to the metric, and each pair of fields together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysweep.analysis.effects.bands import SIGNIFICANCE, critical_value
from raysweep.analysis.effects.columns import Column, make_columns
from raysweep.analysis.effects.effect import Effect, Interaction, surest
from raysweep.analysis.effects.gaussian_process import AdditiveGaussianProcess, Observations

__all__ = ["MIN_TRIALS", "EffectModel", "estimate_effects", "fit_trials"]

MIN_TRIALS = 12
_MAX_TRIALS = 300  # time grows with the cube, memory with the square
_MAX_FIDELITIES = 4
_NUM_CELLS = 5  # values of a number at which interactions are looked at, evenly among those tried
_FAR = 6.0  # times the median distance from the best: what lies beyond counts as lying there


@dataclass(frozen=True)
class EffectModel:
    """A model of a search's results, from which effects and interactions are read.

    Attributes:
        gaussian_process: fitted to n trials.
        rows: the trials that it was fitted to, as indices into those that were given, n in number.
    """

    gaussian_process: AdditiveGaussianProcess
    rows: tuple[int, ...]

    def effects(self) -> list[Effect]:
        """One effect a column, the most important one first."""
        num_columns = len(self.gaussian_process.columns)
        return sorted((self._effect(k) for k in range(num_columns)), key=surest, reverse=True)

    def interactions(self, fields: Sequence[str]) -> list[Interaction]:
        """One for each pair of columns of these names, the surest one first."""
        names = [column.name for column in self.gaussian_process.columns]
        indices = sorted(names.index(field) for field in fields)
        pairs = [(a, b) for k, a in enumerate(indices) for b in indices[k + 1 :]]
        interactions = [self._interaction(a, b, SIGNIFICANCE / len(pairs)) for a, b in pairs]
        measured = [interaction for interaction in interactions if interaction.gain.size]
        return sorted(measured, key=surest, reverse=True)

    def _effect(self, index: int) -> Effect:
        column = self.gaussian_process.columns[index]
        grid = column.grid()
        posterior = self.gaussian_process.effect(index, grid)
        critical = critical_value(posterior)
        familywise = SIGNIFICANCE / len(self.gaussian_process.columns)  # Bonferroni's bound
        return Effect(
            field=column.name,
            grid=tuple(grid),
            reference=column.reference,
            gain=posterior.mean,
            half_width=critical * posterior.std,
            tried=column.values,
            log=column.log,
            familywise_factor=critical_value(posterior, familywise) / critical,
        )

    def _interaction(self, a: int, b: int, significance: float) -> Interaction:
        columns = self.gaussian_process.columns
        grid_a, grid_b = _cells(columns[a]), _cells(columns[b])
        fields, grids = (columns[a].name, columns[b].name), (tuple(grid_a), tuple(grid_b))
        if min(len(grid_a), len(grid_b)) < 2:
            return Interaction(fields, grids, np.zeros((0, 0)), np.zeros((0, 0)))
        posterior = self.gaussian_process.interaction(a, b, grid_a, grid_b)
        half_width = critical_value(posterior, significance) * posterior.std
        shape = (len(grid_a), len(grid_b))
        return Interaction(fields, grids, posterior.mean.reshape(shape), half_width.reshape(shape))


def fit_trials(
    configs: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[float]],
    fields: Sequence[str],
    mode: str,
    params: Sequence[Mapping[str, Any]] = (),
) -> EffectModel | None:
    """Fits the model to a search's trials.

    Of more than 300 trials, 300 evenly spaced ones are used, the first and the last among them.
    Trials much worse than most (`_FAR`) count as no worse than that: a network that learned nothing
    would else outweigh all others.

    Args:
        configs: configuration of each trial, the default first.
        curves: the metric after each epoch of each trial; empty for a failed trial.
        fields: what was searched.
        mode: "min" or "max".
        params: what the searcher chose for each trial; see `make_columns`.

    Returns:
        None where fewer than 12 trials have a result or nothing differs.
    """
    rows = [k for k, curve in enumerate(curves) if len(curve)]
    if len(rows) < MIN_TRIALS:
        return None
    if len(rows) > _MAX_TRIALS:
        even = np.linspace(0, len(rows) - 1, _MAX_TRIALS).round().astype(int)
        rows = [rows[k] for k in even]
    chosen = [params[k] for k in rows] if params else ()
    columns = make_columns([configs[k] for k in rows], fields, chosen)
    if not columns:
        return None
    observations = _observe([curves[k] for k in rows], 1.0 if mode == "max" else -1.0)
    return EffectModel(AdditiveGaussianProcess(columns, observations), tuple(rows))


def estimate_effects(
    configs: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[float]],
    fields: Sequence[str],
    mode: str,
    params: Sequence[Mapping[str, Any]] = (),
) -> list[Effect]:
    """Estimates what each field does, the most important one first; see `fit_trials`.

    Returns:
        One effect a column of `make_columns`; none where trials are too few.
    """
    model = fit_trials(configs, curves, fields, mode, params)
    return model.effects() if model else []


def _observe(curves: Sequence[Sequence[float]], sign: float) -> Observations:
    """The best so far of each trial at those numbers of epochs at which most trials ended.

    Args:
        curves: of n trials, none empty.
        sign: what makes a high metric a good one, 1 or -1.
    """
    lengths, counts = np.unique([len(curve) for curve in curves], return_counts=True)
    most_common = lengths[:-1][np.argsort(-counts[:-1], kind="stable")[: _MAX_FIDELITIES - 1]]
    num_epochs = [*sorted(most_common), lengths[-1]]
    rows = [
        (trial, fidelity, float(np.max(sign * np.asarray(curve[:length]))))
        for fidelity, length in enumerate(num_epochs)
        for trial, curve in enumerate(curves)
        if len(curve) >= length
    ]
    trials, fidelities, results = (np.array(column) for column in zip(*rows, strict=True))  # [m]
    for fidelity in range(len(num_epochs)):
        same = fidelities == fidelity
        results[same] = _clipped(results[same])
    return Observations(trials, fidelities, results)


def _clipped(results: np.ndarray) -> np.ndarray:
    best, median = results.max(), np.median(results)
    return np.asarray(results.clip(best - _FAR * (best - median)))


def _cells(column: Column) -> list[Any]:
    """A few values of a column, evenly among those that the trials have."""
    if not column.numeric:
        return column.choices
    numbers = [v for v in column.values if v is not None]
    shares = np.linspace(0.1, 0.9, _NUM_CELLS)
    return sorted(set(map(float, np.quantile(numbers, shares, method="nearest"))))
