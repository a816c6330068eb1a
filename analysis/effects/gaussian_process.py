"""A Gaussian process of additive effects, for the results of a search's trials.

The result y of trial t at fidelity l (a number of epochs) is a sum:

    y = β_l + f_l(x_t) + u_t + ε
    β_l ~ N(0, 100)            the mean at this fidelity; its prior is wide, as good as none
    f_l ~ GP(0, k)             what the configuration x_t does: each field, pairs, all together
    u_t ~ N(0, σ_t²)           what is particular to the trial, its seed for one
    ε   ~ N(0, σ_n²)           noise of a single result

    cov(f_l(x), f_l'(x')) = k(x, x') · (1 if l = l', else ρ)

k is the additive kernel of `kernel.py`. Results are standardised: mean 0, standard deviation 1.

All trials' results at several numbers of epochs are described together, so that a trial that the
scheduler stopped still counts with the epochs that it had. That it was stopped depends on results
that are seen, so that what is missing is ignorable (Rubin, "Inference and missing data", 1976).

A field's effect is a contrast: the difference to the field's reference value. What does not depend
on the field cancels in it, so that neither β_l nor the other fields' own effects are needed.

Sources: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006 (below: GPML):
prediction and marginal likelihood, eq. 2.25, 2.26 and 2.30, as in algorithm 2.1; β_l, section 2.7.
The kernel: Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011. Fidelities
that correlate: Swersky, Snoek and Adams, "Multi-task Bayesian optimization", NIPS 2013; results of
unfinished trials: the same authors' "Freeze-thaw Bayesian optimization", 2014.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from raysweep.analysis.effects.columns import Column
from raysweep.analysis.effects.kernel import Hyperparameters, additive_kernel, field_kernel

__all__ = ["AdditiveGaussianProcess", "Observations", "Posterior"]

P = ParamSpec("P")
T = TypeVar("T")

_INTERCEPT_VARIANCE = 100.0  # of β_l, in variances of the results
_JITTER = 1e-8  # keeps the covariance positive definite in floating point
_BOUND = 4.0  # how far a hyperparameter may go from its prior's mean: a factor of 55


@dataclass(frozen=True)
class Observations:
    """Results of n trials at some numbers of epochs: m results in all.

    Attributes:
        trials: the trial of each result, from 0 to n - 1, int [m].
        fidelities: its number of epochs, as an index into the sorted numbers that occur, int [m].
        results: the metric, high is good, float64 [m].
    """

    trials: np.ndarray
    fidelities: np.ndarray
    results: np.ndarray


class Posterior(NamedTuple):
    """What the results say of k contrasts: a normal distribution.

    Attributes:
        mean: in the metric's unit, float64 [k].
        covariance: float64 [k, k].
    """

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each contrast, float64 [k]."""
        return np.asarray(np.sqrt(self.covariance.diagonal().clip(0.0)))


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


class AdditiveGaussianProcess:
    """The Gaussian process, its hyperparameters fitted to the observations.

    Args:
        columns: the d fields' values in n trials; at least one field.
        observations: the m results of these trials.
    """

    @_one_thread
    def __init__(self, columns: Sequence[Column], observations: Observations) -> None:
        self.columns = list(columns)
        results = observations.results
        self._results_std = float(results.std()) or 1.0
        self._results = torch.from_numpy((results - results.mean()) / self._results_std)  # [m]
        self._trials = torch.from_numpy(observations.trials)  # [m]
        self._fidelities = torch.from_numpy(observations.fidelities)  # [m]
        self._last_fidelity = int(observations.fidelities.max())
        self._inputs = [torch.from_numpy(c.scaled(c.values)) for c in self.columns]  # d × [n]
        self._fit()

    @_one_thread
    def effect(self, index: int, grid: Sequence[object]) -> Posterior:
        """What a field does at the last fidelity, averaged over the other fields of all trials.

        The average over n trials is the partial dependence f̄(z) = 1/n Σ_t f(z, other fields of t).
        With c_ts as in `_coefficient`, its covariances are, but for what cancels in a contrast:

            cov(f̄(z), f(x_s))  = kᵢ(z, x_sᵢ) · 1/n Σ_t c_ts
            cov(f̄(z), f̄(z'))   = kᵢ(z, z')   · 1/n² Σ_ts c_ts

        Args:
            index: the field's index among the columns.
            grid: g values of it.

        Returns:
            Of the contrasts f̄(grid) − f̄(reference), g of them.
        """
        column = self.columns[index]
        values = torch.from_numpy(column.scaled([*grid, column.reference]))  # [g + 1]
        with torch.no_grad():
            coefficient = self._coefficient([index])  # [n, n]
            cross = self._field_kernel(index, values, self._inputs[index]) * coefficient.mean(0)
            prior = self._field_kernel(index, values, values) * coefficient.mean()
        # Each row is one value less the last one, the reference: [g, g + 1].
        contrast = torch.eye(len(values), dtype=torch.float64)[:-1]
        contrast[:, -1] = -1.0
        return self._posterior(contrast @ cross, contrast @ prior @ contrast.T)

    @_one_thread
    def interaction(
        self, a: int, b: int, grid_a: Sequence[object], grid_b: Sequence[object]
    ) -> Posterior:
        """What two fields do together beyond the sum of what each does, at the last fidelity.

        The table of g × h values is centred both ways, so that each row and each column sums to 0:
        what is a function of one of the two fields vanishes. Other fields are averaged over.

        Args:
            a: a field's index among the columns.
            b: the other's.
            grid_a: g values of the first, at least 2.
            grid_b: h values of the second, at least 2.

        Returns:
            Of the g · h cells, row by row.
        """
        values_a = torch.from_numpy(self.columns[a].scaled(grid_a))  # [g]
        values_b = torch.from_numpy(self.columns[b].scaled(grid_b))  # [h]
        with torch.no_grad():
            coefficient = self._coefficient([a, b])  # [n, n]
            kernel_a = self._field_kernel(a, values_a, self._inputs[a])  # [g, n]
            kernel_b = self._field_kernel(b, values_b, self._inputs[b])  # [h, n]
            pairs = (kernel_a[:, None] * kernel_b[None]).flatten(0, 1)  # [g · h, n]
            cross = pairs * coefficient.mean(0)
            prior = torch.kron(  # [g · h, g · h]
                self._field_kernel(a, values_a, values_a), self._field_kernel(b, values_b, values_b)
            )
            contrast = torch.kron(_centring(len(values_a)), _centring(len(values_b)))
        prior = contrast @ prior @ contrast.T * coefficient.mean()
        return self._posterior(contrast @ cross, prior)

    @_one_thread
    def configurations(self) -> Posterior:
        """What each trial's configuration is worth at the last fidelity, without u_t and noise.

        Returns:
            Of the contrasts f(x_t) − f(x_0) to the first trial's configuration, n of them.
        """
        with torch.no_grad():
            prior = additive_kernel(self._kernels, self._theta)  # [n, n]
        contrast = torch.eye(len(prior), dtype=torch.float64)
        contrast[:, 0] -= 1.0
        return self._posterior(contrast @ prior, contrast @ prior @ contrast.T)

    @property
    def residual_std(self) -> float:
        """√(σ_t² + σ_n²): of what fields do not explain in a single result, in its unit."""
        theta = self._theta
        return float((theta.trial_std**2 + theta.noise_std**2).sqrt()) * self._results_std

    def _posterior(self, cross: Tensor, prior: Tensor) -> Posterior:
        """The posterior of k contrasts of f at the last fidelity (GPML, eq. 2.25 and 2.26).

        Args:
            cross: covariance with f(x_t) of each trial at one fidelity, [k, n].
            prior: covariance with each other, [k, k].
        """
        with torch.no_grad():
            # With the results: f correlates less across fidelities.
            correlation = self._theta.fidelity_kernel(self._fidelities, self._last_fidelity)  # [m]
            cross = cross[:, self._trials] * correlation  # K*, [k, m]
            v = torch.linalg.solve_triangular(self._cholesky, cross.T, upper=False)  # L⁻¹K*ᵀ [m, k]
            mean = cross @ self._alpha  # K* K_y⁻¹ y, [k]
            covariance = prior - v.T @ v  # K** − K* K_y⁻¹ K*ᵀ, [k, k]
        std = self._results_std  # back to the metric's unit
        return Posterior(mean.numpy() * std, covariance.numpy() * std**2)

    def _coefficient(self, indices: Sequence[int]) -> Tensor:
        """What multiplies the kernels of one or two fields in k(x_t, x_s), [n, n].

        For field i: c_ts = σ₁² + σ₂² Σ_{j≠i} kⱼ + σ_d² Π_{j≠i} kⱼ, its own effect, its pairs and
        all together. For fields i and j: c_ts = σ₂² + σ_d² Π_{l≠i,j} k_l, their pair and all
        together.
        """
        total = torch.zeros_like(self._kernels[0])
        product = torch.ones_like(self._kernels[0])
        for k, kernel in enumerate(self._kernels):
            if k not in indices:
                total, product = total + kernel, product * kernel
        theta = self._theta
        if len(indices) > 1:
            return theta.pair_std**2 + theta.joint_std**2 * product
        return theta.main_std**2 + theta.pair_std**2 * total + theta.joint_std**2 * product

    def _field_kernel(self, index: int, a: Tensor, b: Tensor) -> Tensor:
        return field_kernel(self.columns[index], a, b, self._theta.lengthscale)

    def _field_kernels(self, theta: Hyperparameters) -> list[Tensor]:
        """kᵢ of all pairs of trials, for each of d fields, [n, n] each."""
        columns = zip(self.columns, self._inputs, strict=True)
        return [field_kernel(column, x, x, theta.lengthscale) for column, x in columns]

    def _covariance(self, kernels: Sequence[Tensor], theta: Hyperparameters) -> Tensor:
        """K_y, the covariance of the results, [m, m]."""
        trials, fidelities = self._trials, self._fidelities
        same_trial = (trials[:, None] == trials[None, :]).double()
        same_fidelity = (fidelities[:, None] == fidelities[None, :]).double()
        effects = additive_kernel(kernels, theta)[trials[:, None], trials[None, :]]
        effects = effects * theta.fidelity_kernel(fidelities[:, None], fidelities[None, :])
        total = effects + theta.trial_std**2 * same_trial + _INTERCEPT_VARIANCE * same_fidelity
        noise = theta.noise_std**2 + _JITTER
        return total + noise * torch.eye(len(self._results), dtype=torch.float64)

    def _negative_log_posterior(self, vector: Tensor) -> Tensor:
        """−log p(y | θ) − log p(θ), up to a constant.

        The first is the marginal likelihood's: ½ yᵀ K_y⁻¹ y + ½ log |K_y| (GPML, eq. 2.30), where
        K_y = L Lᵀ, so that yᵀ K_y⁻¹ y = |L⁻¹ y|² and ½ log |K_y| = Σ log Lᵢᵢ.
        """
        theta = Hyperparameters(vector)
        cholesky = torch.linalg.cholesky(self._covariance(self._field_kernels(theta), theta))
        whitened = torch.linalg.solve_triangular(cholesky, self._results[:, None], upper=False)
        negative_log_likelihood = 0.5 * (whitened**2).sum() + cholesky.diagonal().log().sum()
        return negative_log_likelihood + theta.negative_log_prior()

    def _fit(self) -> None:
        """Takes the hyperparameters of the highest posterior density, and factorises K_y."""
        from scipy.optimize import minimize

        def loss_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
            vector = torch.from_numpy(values).requires_grad_()
            loss = self._negative_log_posterior(vector)
            loss.backward()
            assert vector.grad is not None
            return float(loss.detach()), vector.grad.numpy()

        start = Hyperparameters.prior_mean()
        bounds = [(mean - _BOUND, mean + _BOUND) for mean in start]
        fit = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds)
        self._theta = Hyperparameters(torch.from_numpy(fit.x))
        with torch.no_grad():
            self._kernels = self._field_kernels(self._theta)  # d × [n, n]
            self._cholesky = torch.linalg.cholesky(self._covariance(self._kernels, self._theta))
            self._alpha = torch.cholesky_solve(self._results[:, None], self._cholesky)[:, 0]


def _centring(size: int) -> Tensor:
    """The matrix I − 11ᵀ/size that subtracts the mean, float64 [size, size]."""
    return torch.eye(size, dtype=torch.float64) - 1.0 / size
