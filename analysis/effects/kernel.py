"""The kernel of the effects' Gaussian process, and its hyperparameters.

Each field has a kernel that says how alike two of its values act, from 0 to 1. Numbers x and x' are
on a scale from 0 to 1 (`Column.scaled`); one lengthscale ℓ serves all fields:

    numbers:  kᵢ(x, x') = exp(−½ ((x − x') / ℓ)²)   squared exponential
    words:    kᵢ(x, x') = 1 if x = x', else 0
    unset:    kᵢ = 1 beside another unset value, 0 beside a number

The additive kernel of a configuration's d fields has the orders 1, 2 and d, each with a standard
deviation of its own:

    k(x, x') = σ₁² Σᵢ kᵢ  +  σ₂² Σ_{i<j} kᵢ kⱼ  +  σ_d² Πᵢ kᵢ
               main effects   pairs               all fields together

Sources: Duvenaud, Nickisch and Rasmussen, "Additive Gaussian processes", NIPS 2011;
Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 4.9.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from raysweep.analysis.effects.columns import Column

__all__ = ["Hyperparameters", "additive_kernel", "field_kernel"]

# Median, and standard deviation of the logarithm. Standard deviations are shares of that of all
# results. Main effects share one, so that no field is called null only because its own standard
# deviation was estimated as 0.
_LOG_NORMAL_PRIORS = {
    "main_std": (0.3, 0.7),
    "pair_std": (0.15, 0.7),
    "joint_std": (0.2, 0.7),
    "trial_std": (0.3, 0.7),
    "noise_std": (0.3, 0.7),
    "lengthscale": (0.4, 0.35),
}
# Mean and standard deviation of logit ρ: effects at two numbers of epochs correlate by 0.88.
_LOGIT_CORRELATION_PRIOR = (2.0, 1.5)


class Hyperparameters:
    """The hyperparameters θ, from the vector without bounds that the optimiser moves.

    Args:
        vector: (log σ₁, log σ₂, log σ_d, log σ_t, log σ_n, log ℓ, logit ρ), float64 [7].

    Attributes:
        main_std: σ₁, standard deviation of a field's main effect. All standard deviations are in
            units of the results' own.
        pair_std: σ₂, of what two fields do together.
        joint_std: σ_d, of what all fields do together.
        trial_std: σ_t, of what is particular to a trial, its seed for one.
        noise_std: σ_n, of a single result.
        lengthscale: ℓ, a share of the range of a field's values.
        correlation: ρ, of effects at two different numbers of epochs, from 0 to 1.
    """

    def __init__(self, vector: Tensor) -> None:
        self._vector = vector
        (
            self.main_std,
            self.pair_std,
            self.joint_std,
            self.trial_std,
            self.noise_std,
            self.lengthscale,
        ) = vector[:-1].exp()
        self.correlation = torch.sigmoid(vector[-1])

    @staticmethod
    def prior_mean() -> np.ndarray:
        """The prior's mean, where the optimiser starts, float64 [7]."""
        medians = [median for median, _ in _LOG_NORMAL_PRIORS.values()]
        return np.array([*np.log(medians), _LOGIT_CORRELATION_PRIOR[0]])

    def negative_log_prior(self) -> Tensor:
        """−log p(θ) up to a constant: ½ Σ ((θ − mean) / std)² of independent normal priors."""
        stds = [std for _, std in _LOG_NORMAL_PRIORS.values()]
        std = torch.tensor([*stds, _LOGIT_CORRELATION_PRIOR[1]], dtype=torch.float64)  # [7]
        return 0.5 * (((self._vector - torch.from_numpy(self.prior_mean())) / std) ** 2).sum()

    def fidelity_kernel(self, a: Tensor, b: Tensor | int) -> Tensor:
        """Correlation of effects at fidelities a and b: 1 where they are the same, else ρ."""
        return self.correlation + (1.0 - self.correlation) * (a == b).double()


def field_kernel(column: Column, a: Tensor, b: Tensor, lengthscale: Tensor) -> Tensor:
    """How alike values of one field act, kᵢ(a, b), from 0 to 1.

    Args:
        column: the field.
        a: p scaled values, NaN where unset, float64 [p].
        b: q of them, float64 [q].
        lengthscale: ℓ, a scalar.

    Returns:
        Float64 [p, q].
    """
    if not column.numeric:
        return (a[:, None] == b[None, :]).double()
    difference = a[:, None] - b[None, :]  # [p, q]
    kernel = torch.exp(-0.5 * (difference / lengthscale).nan_to_num(0.0) ** 2)
    same_kind = a.isnan()[:, None] == b.isnan()[None, :]  # both numbers, or both unset
    return torch.where(same_kind, kernel, torch.zeros_like(kernel))


def additive_kernel(field_kernels: Sequence[Tensor], theta: Hyperparameters) -> Tensor:
    """The covariance k(x, x') of n configurations' values at one fidelity.

    Args:
        field_kernels: kᵢ of all pairs of configurations, d of them, float64 [n, n] each.
        theta: the hyperparameters.

    Returns:
        Float64 [n, n].
    """
    stacked = torch.stack(list(field_kernels))  # [d, n, n]
    total = stacked.sum(0)  # Σᵢ kᵢ, [n, n]
    # Newton and Girard's formula: Σ_{i<j} kᵢ kⱼ = ½ ((Σᵢ kᵢ)² − Σᵢ kᵢ²), in d steps rather than d².
    pairs = 0.5 * (total**2 - (stacked**2).sum(0))
    kernel = theta.main_std**2 * total + theta.pair_std**2 * pairs
    return kernel + theta.joint_std**2 * stacked.prod(0)
