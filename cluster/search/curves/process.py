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
        guesses: what earlier runs lead to expect, [n, num_sources]; None without any.
    """

    features: Floats
    trials: NDArray[np.int64]
    times: Floats
    guesses: Floats | None = None

    def __len__(self) -> int:
        return len(self.times)

    def and_those(self, more: Rows) -> Rows:
        """These rows and then others; both with guesses, or neither."""
        guesses = None
        if self.guesses is not None and more.guesses is not None:
            guesses = np.concatenate([self.guesses, more.guesses])
        return Rows(
            np.concatenate([self.features, more.features]),
            np.concatenate([self.trials, more.trials]),
            np.concatenate([self.times, more.times]),
            guesses,
        )


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
_DOUBT = _Prior(1.0, 1.0, 0.01, 20.0)  # τ: how far earlier runs may be from what is true now
_TRUST = 1.0  # the weight that these have together, before anything is known


class CurveProcess:
    """k = M52(r)·(a + b·e^(−|Δt|/λ) + g·t·t′) + c·1[same trial]·(½ + ½e^(−|Δt|/λ)) + 1 + t·t′.

    r is the distance of two configurations with a length scale for each param, M52 the Matérn
    kernel of order 5/2, t a time as in `Rows`. Each observation has noise v besides. With guesses
    of S earlier runs, their mean is the mean, and k has τ·(guesses·guesses′)/S more: each has a
    weight, which is 1/S with a variance of τ/S.

    Attributes:
        theta: logarithms of the length scales, then of a, b, g, c, v, λ, and with guesses τ.
        num_params: of a configuration.

    Args:
        fields: for each feature, which param it belongs to, [num_features].
        theta: to start from; the centres of the priors by default.
        num_sources: earlier runs whose guesses all rows have.
    """

    def __init__(
        self, fields: NDArray[np.int64], theta: Floats | None = None, *, num_sources: int = 0
    ) -> None:
        self.num_params = int(fields.max()) + 1 if len(fields) else 0
        self._member = np.zeros((self.num_params, len(fields)))  # sums features over each param
        self._member[fields, np.arange(len(fields))] = 1.0
        self._fields = fields
        priors = [_LENGTH] * self.num_params + list(_OTHERS)
        priors += [_DOUBT] if num_sources else []
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
        n, p = len(rows), self.num_params
        flat = distances.reshape(p, n * n)
        alike = _alike(rows, rows)
        z = z - _expected(rows)

        def objective(theta: Floats) -> tuple[float, Floats]:
            scales = np.exp(-2 * theta[:p])
            a, b, g, c, v, lam = np.exp(theta[p : p + 6])
            r = np.sqrt(scales @ flat).reshape(n, n)
            decay = np.exp(-_SQRT5 * r)
            matern = (1 + _SQRT5 * r + (5 / 3) * r * r) * decay
            near = np.exp(-gaps / lam)
            levels = a + b * near + g * products
            own = same * (0.5 + 0.5 * near)
            kernel = matern * levels + c * own + 1 + products
            kernel[np.diag_indices(n)] += v + _JITTER
            if alike is not None:
                kernel += np.exp(theta[p + 6]) * alike
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
            if alike is not None:
                gradient[p + 6] = np.exp(theta[p + 6]) * (weights * alike).sum()
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

    def matern(self, left: Floats, right: Floats) -> Floats:
        """M52 of configurations, [n, num_features] and [m, num_features] to [n, m]."""
        scale = np.exp(-self.theta[: self.num_params])[self._fields]
        x, y = left * scale, right * scale
        r = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * (x @ y.T)
        r = _SQRT5 * np.sqrt(np.maximum(r, 0.0))
        out: Floats = (1 + r + r * r / 3) * np.exp(-r)
        return out

    def kernel(self, left: Rows, right: Rows) -> Floats:
        """Covariances without noise, [len(left), len(right)]."""
        p = self.num_params
        a, b, g, c, _, lam = np.exp(self.theta[p : p + 6])
        near = np.exp(-np.abs(left.times[:, None] - right.times[None, :]) / lam)
        products = left.times[:, None] * right.times[None, :]
        matern = self.matern(left.features, right.features)
        same = left.trials[:, None] == right.trials[None, :]
        out: Floats = matern * (a + b * near + g * products) + 1 + products
        out += c * same * (0.5 + 0.5 * near)
        if (alike := _alike(left, right)) is not None:
            out += np.exp(self.theta[p + 6]) * alike
        return out

    def variance(self, rows: Rows) -> Floats:
        """Prior variances, [n]."""
        p = self.num_params
        a, b, g, c = np.exp(self.theta[p : p + 4])
        out: Floats = a + b + c + 1 + (g + 1) * rows.times * rows.times
        if rows.guesses is not None:
            out += np.exp(self.theta[p + 6]) * (rows.guesses**2).mean(1)
        return out

    @property
    def noise(self) -> float:
        """Variance of an observation's noise, v."""
        return float(np.exp(self.theta[self.num_params + 4])) + _JITTER

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
        left = z - _expected(rows)
        self._alpha: Floats = cho_solve((factor, True), left, check_finite=False)

    def trust(self) -> tuple[float, ...]:
        """The weight that each earlier run's guesses turn out to have, [num_sources]."""
        guesses = self._rows.guesses
        if guesses is None:
            return ()
        tau = np.exp(self._process.theta[self._process.num_params + 6])
        weights = (_TRUST + tau * (guesses.T @ self._alpha)) / guesses.shape[1]
        return tuple(map(float, weights))

    def expects(self, features: Floats, times: Floats) -> Floats:
        """The mean of new trials, with these features, at each of these times.

        Args:
            features: [n, num_features].
            times: as in `Rows`, [m].

        Returns:
            [n, m]; at a fraction of what `at` costs, whose rows would not share their distances.
        """
        rows, process = self._rows, self._process
        _, first, which = np.unique(rows.trials, return_index=True, return_inverse=True)
        a, b, g, _, _, lam = np.exp(process.theta[process.num_params :][:6])
        near = np.exp(-np.abs(rows.times[:, None] - times[None, :]) / lam)
        products = rows.times[:, None] * times[None, :]
        weights = np.zeros((len(first), len(times)))
        np.add.at(weights, which, (a + b * near + g * products) * self._alpha[:, None])
        out: Floats = process.matern(features, rows.features[first]) @ weights
        out += self._alpha @ (1 + products)
        return out

    def at(self, asked: Rows) -> tuple[Floats, Floats]:
        """Mean and standard deviation, without noise, [n] each."""
        cross = self._process.kernel(self._rows, asked)
        mean = cross.T @ self._alpha + _expected(asked)
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        variance = self._process.variance(asked) - (half * half).sum(0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def together(self, asked: Rows) -> tuple[Floats, Floats]:
        """Mean, [n], and covariance without noise, [n, n]."""
        cross = self._process.kernel(self._rows, asked)
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        mean = cross.T @ self._alpha + _expected(asked)
        return mean, self._process.kernel(asked, asked) - half.T @ half


def _alike(left: Rows, right: Rows) -> Floats | None:
    """Covariance of guesses whose weights vary by 1 in all, [len(left), len(right)]."""
    if left.guesses is None or right.guesses is None:
        return None
    out: Floats = left.guesses @ right.guesses.T / left.guesses.shape[1]
    return out


def _expected(rows: Rows) -> Floats | float:
    """The mean before anything is known, [n]."""
    if rows.guesses is None:
        return 0.0
    out: Floats = _TRUST * rows.guesses.mean(1)
    return out
