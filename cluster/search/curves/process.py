"""A Gaussian process over configurations and epochs, as learning curves call for.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press 2006: the posterior is
equations 2.25 and 2.26, the evidence and its gradient 5.8 and 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

__all__ = ["CurveProcess", "Floats", "Posterior", "Rows"]

Floats = NDArray[np.float64]

_SQRT5 = 5.0**0.5
_JITTER = 1e-6


@dataclass(frozen=True)
class Rows:
    """What is known, or asked: configurations at epochs.

    Attributes:
        features: of the configurations, [n, num_features].
        trials: whose, [n]; rows of one trial have more in common than their configuration.
        times: ln(epoch) / ln(most epochs), [n].
    """

    features: Floats
    trials: NDArray[np.int64]
    times: Floats

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class _Prior:
    """A normal distribution of a logarithm, cut off."""

    centre: float
    sd: float
    low: float
    high: float


_LENGTH = _Prior(0.6, 0.7, 0.1, 5.0)
_OTHERS = (
    _Prior(0.4, 1.0, 0.001, 20.0),  # a: what a configuration is worth at any epoch
    _Prior(0.2, 1.0, 0.001, 20.0),  # b: at epochs near one another
    _Prior(0.2, 1.0, 0.001, 20.0),  # g: what grows with the epoch
    _Prior(0.1, 1.0, 0.02, 20.0),  # c: a trial's own, beside its configuration's
    _Prior(0.01, 1.5, 0.01, 1.0),  # v: noise
    _Prior(0.4, 0.7, 0.05, 5.0),  # λ: how near epochs are
)


class CurveProcess:
    """k = M52(r)·(a + b·e^(−|Δt|/λ) + g·t·t′) + c·1[same trial]·(½ + ½e^(−|Δt|/λ)) + 1 + t·t′.

    r is the distance of two configurations with a length scale for each param, M52 the Matérn
    kernel of order 5/2, t a time as in `Rows`. Each observation has noise v besides.

    Attributes:
        theta: logarithms of the length scales, then of a, b, g, c, v and λ.

    Args:
        fields: for each feature, which param it belongs to, [num_features].
        theta: to start from; the centres of the priors by default.
    """

    def __init__(self, fields: NDArray[np.int64], theta: Floats | None = None) -> None:
        self._num_params = int(fields.max()) + 1 if len(fields) else 0
        self._member = np.zeros((self._num_params, len(fields)))  # sums features over each param
        self._member[fields, np.arange(len(fields))] = 1.0
        self._fields = fields
        priors = [_LENGTH] * self._num_params + list(_OTHERS)
        self._centre = np.log([p.centre for p in priors])
        self._sd = np.array([p.sd for p in priors])
        self._bounds = [(np.log(p.low), np.log(p.high)) for p in priors]
        self.theta = self._centre.copy() if theta is None else np.asarray(theta, float)

    def fit(self, rows: Rows, z: Floats, *, steps: int = 8) -> None:
        """Takes `theta` nearer to what the rows make most probable.

        Args:
            rows: n of them.
            z: their values, [n], with mean 0 and variance 1.
            steps: of L-BFGS-B, from where `theta` is.
        """
        squares = (rows.features[:, None, :] - rows.features[None, :, :]) ** 2  # [n, n, features]
        distances = np.moveaxis(squares @ self._member.T, 2, 0)  # [params, n, n]
        gaps = np.abs(rows.times[:, None] - rows.times[None, :])
        products = rows.times[:, None] * rows.times[None, :]
        same = (rows.trials[:, None] == rows.trials[None, :]).astype(float)
        n, p = len(rows), self._num_params
        flat = distances.reshape(p, n * n)

        def objective(theta: Floats) -> tuple[float, Floats]:
            scales = np.exp(-2 * theta[:p])
            a, b, g, c, v, lam = np.exp(theta[p:])
            r = np.sqrt(scales @ flat).reshape(n, n)
            decay = np.exp(-_SQRT5 * r)
            matern = (1 + _SQRT5 * r + (5 / 3) * r * r) * decay
            near = np.exp(-gaps / lam)
            levels = a + b * near + g * products
            own = same * (0.5 + 0.5 * near)
            kernel = matern * levels + c * own + 1 + products
            kernel[np.diag_indices(n)] += v + _JITTER
            try:
                factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:
                return 1e12, np.zeros_like(theta)
            alpha = cho_solve(factor, z, check_finite=False)
            inverse = cho_solve(factor, np.eye(n), overwrite_b=True, check_finite=False)
            weights = 0.5 * (inverse - np.outer(alpha, alpha))
            gradient = np.empty_like(theta)
            slope = weights * levels * ((5 / 3) * (1 + _SQRT5 * r) * decay)
            gradient[:p] = scales * (flat @ slope.ravel())
            by_level = weights * matern
            closer = near * gaps / lam
            gradient[p] = a * by_level.sum()
            gradient[p + 1] = b * (by_level * near).sum()
            gradient[p + 2] = g * (by_level * products).sum()
            gradient[p + 3] = c * (weights * own).sum()
            gradient[p + 4] = v * np.trace(weights)
            gradient[p + 5] = (by_level * (b * closer)).sum() + (
                weights * same * (0.5 * c * closer)
            ).sum()
            value = 0.5 * float(z @ alpha) + float(np.log(np.diag(factor[0])).sum())
            away = (theta - self._centre) / self._sd
            return value + 0.5 * float(away @ away), gradient + away / self._sd

        found = minimize(
            objective,
            self.theta,
            jac=True,
            method="L-BFGS-B",
            bounds=self._bounds,
            options={"maxiter": steps},
        )
        if np.isfinite(found.x).all():
            self.theta = found.x

    def kernel(self, left: Rows, right: Rows) -> Floats:
        """Covariances without noise, [len(left), len(right)]."""
        p = self._num_params
        a, b, g, c, _, lam = np.exp(self.theta[p:])
        scale = np.exp(-self.theta[:p])[self._fields]
        x, y = left.features * scale, right.features * scale
        squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * (x @ y.T)
        r = np.sqrt(np.maximum(squares, 0.0))
        near = np.exp(-np.abs(left.times[:, None] - right.times[None, :]) / lam)
        products = left.times[:, None] * right.times[None, :]
        matern = (1 + _SQRT5 * r + (5 / 3) * r * r) * np.exp(-_SQRT5 * r)
        same = left.trials[:, None] == right.trials[None, :]
        out: Floats = matern * (a + b * near + g * products) + 1 + products
        out += c * same * (0.5 + 0.5 * near)
        return out

    def variance(self, times: Floats) -> Floats:
        """Prior variances at these times, [n]."""
        a, b, g, c, _, _ = np.exp(self.theta[self._num_params :])
        out: Floats = a + b + c + 1 + (g + 1) * times * times
        return out

    @property
    def noise(self) -> float:
        """Variance of an observation's noise, v."""
        return float(np.exp(self.theta[self._num_params + 4])) + _JITTER

    def condition(self, rows: Rows, z: Floats) -> Posterior:
        """What the rows, [n] values with noise, say about others."""
        kernel = self.kernel(rows, rows)
        kernel[np.diag_indices(len(rows))] += self.noise
        factor: Floats = np.linalg.cholesky(kernel).astype(np.float64, copy=False)
        return Posterior(self, rows, z, factor)


class Posterior:
    """The process after some rows.

    Args:
        process: with its theta.
        rows: the rows.
        z: their values, [n].
        factor: lower Cholesky factor of their covariance, [n, n].
    """

    def __init__(self, process: CurveProcess, rows: Rows, z: Floats, factor: Floats) -> None:
        self._process, self._rows, self._factor = process, rows, factor
        self._alpha = cho_solve((factor, True), z, check_finite=False)

    def at(self, asked: Rows) -> tuple[Floats, Floats]:
        """Mean and standard deviation, without noise, [n] each."""
        cross = self._process.kernel(self._rows, asked)
        mean = cross.T @ self._alpha
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        variance = self._process.variance(asked.times) - (half * half).sum(0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))
