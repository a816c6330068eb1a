"""A Gaussian process of additive effects, for the results of a search's trials.

A result after some epochs is a sum: a level for that number of epochs, a smooth effect of each
field, one of all fields together (interactions), what is particular to the trial, and noise. All
trials' results at several numbers of epochs are described together, so that a trial that the
scheduler stopped still tells what it told: that it was stopped depends on results that are seen,
and what is missing is then ignorable (Rubin, "Inference and missing data", 1976).

Sources: Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011; curves as in
Swersky, Snoek and Adams, "Freeze-thaw Bayesian optimization", 2014; Rasmussen and Williams,
"Gaussian Processes for Machine Learning", 2006, chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.columns import Column

__all__ = ["AdditiveProcess", "Observations"]

_LEVEL_VARIANCE = 100.0  # of standardised results: levels are as good as unknown beforehand
_JITTER = 1e-8
# Of the logarithms of deviations: main effects share one, so that no field is called null only
# because its own deviation was estimated as 0.
_PRIOR = {
    "main": (0.3, 0.7),
    "joint": (0.2, 0.7),
    "trial": (0.3, 0.7),
    "noise": (0.3, 0.7),
    "scale": (0.4, 0.35),
}


@dataclass(frozen=True)
class Observations:
    """Results of n trials at some numbers of epochs: m results in all.

    Attributes:
        trials: the trial of each result, int [m].
        levels: its number of epochs, as a place among the numbers that occur, int [m].
        results: the results themselves, float64 [m].
    """

    trials: np.ndarray
    levels: np.ndarray
    results: np.ndarray


class AdditiveProcess:
    """The process, its scales fitted to the observations.

    Args:
        columns: the fields' values for n trials; at least one.
        observations: what the trials gave.
    """

    def __init__(self, columns: Sequence[Column], observations: Observations) -> None:
        self.columns = list(columns)
        results = observations.results
        self._spread = float(results.std()) or 1.0
        self._results = torch.from_numpy((results - results.mean()) / self._spread)
        self._trials = torch.from_numpy(observations.trials)
        self._levels = torch.from_numpy(observations.levels)
        self._last = int(observations.levels.max())
        self._units = [torch.from_numpy(c.unit(c.values)) for c in self.columns]
        self._fit()

    def effect(self, index: int, grid: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
        """What a field does at the last level, averaged over the other fields of all trials.

        Args:
            index: the field's place among the columns.
            grid: g values of it.

        Returns:
            Difference to the reference, float64 [g], and its covariance [g, g], in the unit of the
            results.
        """
        column = self.columns[index]
        asked = torch.from_numpy(column.unit([*grid, column.reference]))
        with torch.no_grad():
            scales = _Scales(self._parameters)
            others = self._others(index, scales)
            near = self._near(index, asked, self._units[index], scales)[:, self._trials]
            weights = scales.main**2 + scales.joint**2 * others.mean(0)[self._trials]
            cross = near * weights * scales.between(self._levels, self._last)
            prior = self._near(index, asked, asked, scales)
            prior = prior * (scales.main**2 + scales.joint**2 * others.mean())
            # Of the difference to the last one asked for, the reference.
            turn = torch.eye(len(asked), dtype=torch.float64)[:-1]
            turn[:, -1] = -1.0
            cross, prior = turn @ cross, turn @ prior @ turn.T
            half = torch.linalg.solve_triangular(self._factor, cross.T, upper=False)
            mean = cross @ self._solved
            covariance = prior - half.T @ half
        return mean.numpy() * self._spread, covariance.numpy() * self._spread**2

    def _others(self, index: int, scales: _Scales) -> Tensor:
        """How near trials are in all fields but one, [n, n]."""
        product = torch.ones(len(self._units[0]), len(self._units[0]), dtype=torch.float64)
        for k, unit in enumerate(self._units):
            if k != index:
                product = product * self._near(k, unit, unit, scales)
        return product

    def _near(self, index: int, a: Tensor, b: Tensor, scales: _Scales) -> Tensor:
        """How alike values of one field act, from 0 to 1, [len(a), len(b)]."""
        if not self.columns[index].numeric:
            return (a[:, None] == b[None, :]).double()
        apart = a[:, None] - b[None, :]
        near = torch.exp(-0.5 * (apart / scales.scale).nan_to_num(0.0) ** 2)
        unset = a.isnan()[:, None], b.isnan()[None, :]
        return torch.where(unset[0] == unset[1], near, torch.zeros_like(near))

    def _covariance(self, scales: _Scales) -> Tensor:
        kernels = [self._near(k, unit, unit, scales) for k, unit in enumerate(self._units)]
        stacked = torch.stack(kernels)
        effects = scales.main**2 * stacked.sum(0) + scales.joint**2 * stacked.prod(0)
        between = scales.between(self._levels[:, None], self._levels[None, :])
        same_level = (self._levels[:, None] == self._levels[None, :]).double()
        same_trial = (self._trials[:, None] == self._trials[None, :]).double()
        total = effects[self._trials[:, None], self._trials[None, :]] * between
        total = total + scales.trial**2 * same_trial + _LEVEL_VARIANCE * same_level
        noise = scales.noise**2 + _JITTER
        return total + noise * torch.eye(len(self._results), dtype=torch.float64)

    def _loss(self, parameters: Tensor) -> Tensor:
        """Minus the logarithm of the scales' posterior density, up to a constant."""
        scales = _Scales(parameters)
        factor = torch.linalg.cholesky(self._covariance(scales))
        solved = torch.linalg.solve_triangular(factor, self._results[:, None], upper=False)
        return 0.5 * (solved**2).sum() + factor.diagonal().log().sum() + scales.penalty()

    def _fit(self) -> None:
        from scipy.optimize import minimize

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            parameters = torch.from_numpy(flat).requires_grad_()
            loss = self._loss(parameters)
            loss.backward()
            assert parameters.grad is not None
            return float(loss.detach()), parameters.grad.numpy()

        start = _Scales.start()
        bounds = [(low - 4.0, low + 4.0) for low in start]
        found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds)
        self._parameters = torch.from_numpy(found.x)
        with torch.no_grad():
            self._factor = torch.linalg.cholesky(self._covariance(_Scales(self._parameters)))
            self._solved = torch.cholesky_solve(self._results[:, None], self._factor)[:, 0]


class _Scales:
    """The process's few numbers, from unconstrained parameters."""

    def __init__(self, parameters: Tensor) -> None:
        self._parameters = parameters
        self.main, self.joint, self.trial, self.noise, self.scale = parameters[:-1].exp()
        self.alike = torch.sigmoid(parameters[-1])

    @staticmethod
    def start() -> np.ndarray:
        """The prior's middle; effects at two numbers of epochs are alike by 0.88."""
        return np.array([*(np.log(middle) for middle, _ in _PRIOR.values()), 2.0])

    def penalty(self) -> Tensor:
        """Minus the logarithm of the prior density, up to a constant."""
        wide = torch.tensor([*(width for _, width in _PRIOR.values()), 1.5], dtype=torch.float64)
        return 0.5 * (((self._parameters - torch.from_numpy(self.start())) / wide) ** 2).sum()

    def between(self, a: Tensor, b: Tensor | int) -> Tensor:
        """How alike effects are at two levels: 1 at the same one."""
        return self.alike + (1.0 - self.alike) * (a == b).double()
