"""A Gaussian process of additive effects, for the results of a search's trials.

A result after some epochs is a sum: a level for that number of epochs, a smooth effect of each
field, one of each pair of fields and one of all together (interactions), what is particular to the
trial, and noise. All
trials' results at several numbers of epochs are described together, so that a trial that the
scheduler stopped still tells what it told: that it was stopped depends on results that are seen,
and what is missing is then ignorable (Rubin, "Inference and missing data", 1976).

Sources: Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011; curves as in
Swersky, Snoek and Adams, "Freeze-thaw Bayesian optimization", 2014; Rasmussen and Williams,
"Gaussian Processes for Machine Learning", 2006, chapter 2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from raysweep.analysis.effects.columns import Column

__all__ = ["AdditiveProcess", "Observations"]

P = ParamSpec("P")
T = TypeVar("T")

_LEVEL_VARIANCE = 100.0  # of standardised results: levels are as good as unknown beforehand
_JITTER = 1e-8
# Of the logarithms of deviations: main effects share one, so that no field is called null only
# because its own deviation was estimated as 0.
_PRIOR = {
    "main": (0.3, 0.7),
    "pair": (0.15, 0.7),
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


def _one_thread(method: Callable[P, T]) -> Callable[P, T]:
    """Runs a method on one thread: on a few hundred rows, more of them wait for each other."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return method(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return wrapped


class AdditiveProcess:
    """The process, its scales fitted to the observations.

    Args:
        columns: the fields' values for n trials; at least one.
        observations: what the trials gave.
    """

    @_one_thread
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

    @_one_thread
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
            others = self._others([index], scales)
            cross = self._near(index, asked, self._units[index], scales) * others.mean(0)
            prior = self._near(index, asked, asked, scales) * others.mean()
        # Of the difference to the last one asked for, the reference.
        turn = torch.eye(len(asked), dtype=torch.float64)[:-1]
        turn[:, -1] = -1.0
        return self._posterior(turn @ cross, turn @ prior @ turn.T, scales)

    @_one_thread
    def interaction(
        self, a: int, b: int, grid_a: Sequence[object], grid_b: Sequence[object]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What two fields do together beyond the sum of what each does, at the last level.

        Both ways of each table of values are centred: a row or a column sums to 0. Other fields are
        averaged over.

        Args:
            a: a field's place among the columns.
            b: the other's.
            grid_a: g values of the first, at least 2.
            grid_b: h values of the second, at least 2.

        Returns:
            Float64 [g * h], row by row, and its covariance, in the unit of the results.
        """
        asked_a = torch.from_numpy(self.columns[a].unit(grid_a))
        asked_b = torch.from_numpy(self.columns[b].unit(grid_b))
        with torch.no_grad():
            scales = _Scales(self._parameters)
            # What is a function of one of the two alone vanishes when centred.
            others = self._others([a, b], scales)
            near_a = self._near(a, asked_a, self._units[a], scales)
            near_b = self._near(b, asked_b, self._units[b], scales)
            cross = (near_a[:, None] * near_b[None]).flatten(0, 1) * others.mean(0)
            prior = torch.kron(
                self._near(a, asked_a, asked_a, scales), self._near(b, asked_b, asked_b, scales)
            )
            turn = torch.kron(_centring(len(asked_a)), _centring(len(asked_b)))
        return self._posterior(turn @ cross, turn @ prior @ turn.T * others.mean(), scales)

    @_one_thread
    def configurations(self) -> tuple[np.ndarray, np.ndarray]:
        """What each trial's configuration is worth at the last level, its luck taken out.

        Returns:
            Difference to trial 0's configuration, float64 [n], and its covariance, [n, n].
        """
        with torch.no_grad():
            scales = _Scales(self._parameters)
            prior = self._effects(scales)
        turn = torch.eye(len(prior), dtype=torch.float64)
        turn[:, 0] -= 1.0
        return self._posterior(turn @ prior, turn @ prior @ turn.T, scales)

    @property
    def luck(self) -> float:
        """Standard deviation of what is particular to a trial, its seed for one."""
        scales = _Scales(self._parameters)
        return float((scales.trial**2 + scales.noise**2).sqrt()) * self._spread

    def _posterior(
        self, cross: Tensor, prior: Tensor, scales: _Scales
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of k functions, given their covariance with n trials' effects.

        Args:
            cross: with each trial's effect at the last level, [k, n].
            prior: with each other, [k, k].
            scales: the fitted ones.
        """
        with torch.no_grad():
            cross = cross[:, self._trials] * scales.between(self._levels, self._last)
            half = torch.linalg.solve_triangular(self._factor, cross.T, upper=False)
            mean = cross @ self._solved
            covariance = prior - half.T @ half
        return mean.numpy() * self._spread, covariance.numpy() * self._spread**2

    def _others(self, indices: Sequence[int], scales: _Scales) -> Tensor:
        """What multiplies the nearness of some fields in the covariance of two trials, [n, n].

        For one field: its own effect, its pairs with others, and all together. For two: their pair,
        and all together.
        """
        total = torch.zeros_like(self._kernels[0])
        product = torch.ones_like(self._kernels[0])
        for k, near in enumerate(self._kernels):
            if k not in indices:
                total, product = total + near, product * near
        if len(indices) > 1:
            return scales.pair**2 + scales.joint**2 * product
        return scales.main**2 + scales.pair**2 * total + scales.joint**2 * product

    def _near(self, index: int, a: Tensor, b: Tensor, scales: _Scales) -> Tensor:
        """How alike values of one field act, from 0 to 1, [len(a), len(b)]."""
        if not self.columns[index].numeric:
            return (a[:, None] == b[None, :]).double()
        apart = a[:, None] - b[None, :]
        near = torch.exp(-0.5 * (apart / scales.scale).nan_to_num(0.0) ** 2)
        unset = a.isnan()[:, None], b.isnan()[None, :]
        return torch.where(unset[0] == unset[1], near, torch.zeros_like(near))

    def _nearness(self, scales: _Scales) -> list[Tensor]:
        """How alike each field's values act in two trials, [n, n] each."""
        return [self._near(k, unit, unit, scales) for k, unit in enumerate(self._units)]

    def _effects(self, scales: _Scales) -> Tensor:
        """Covariance of what the fields of two trials do at one level, [n, n]."""
        stacked = torch.stack(self._nearness(scales))
        total = stacked.sum(0)
        pairs = 0.5 * (total**2 - (stacked**2).sum(0))
        main = scales.main**2 * total + scales.pair**2 * pairs
        return main + scales.joint**2 * stacked.prod(0)

    def _covariance(self, scales: _Scales) -> Tensor:
        effects = self._effects(scales)
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
            self._kernels = self._nearness(_Scales(self._parameters))
            self._factor = torch.linalg.cholesky(self._covariance(_Scales(self._parameters)))
            self._solved = torch.cholesky_solve(self._results[:, None], self._factor)[:, 0]


class _Scales:
    """The process's few numbers, from unconstrained parameters."""

    def __init__(self, parameters: Tensor) -> None:
        self._parameters = parameters
        self.main, self.pair, self.joint, self.trial, self.noise, self.scale = parameters[:-1].exp()
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


def _centring(size: int) -> Tensor:
    """The matrix that takes the mean off, [size, size]."""
    return torch.eye(size, dtype=torch.float64) - 1.0 / size
