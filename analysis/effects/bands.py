"""Simultaneous bands: how wide an interval must be to hold for k values at once.

For each value by itself, 1.96 standard deviations hold with 95% probability; that one of many lies
outside is more likely. The critical value c makes P(maxᵢ |zᵢ| / σᵢ ≤ c) = 1 − significance, for
z ~ N(0, Σ) and σᵢ² = Σᵢᵢ. It is the quantile of that maximum over draws of z: Ruppert, Wand and
Carroll, "Semiparametric Regression", 2003, section 6.5.
"""

from __future__ import annotations

import numpy as np

from raysweep.analysis.effects.gaussian_process import Posterior

__all__ = ["SIGNIFICANCE", "critical_value", "draw_normal"]

SIGNIFICANCE = 0.05  # one in twenty intervals may miss
_NUM_DRAWS = 4000
_MIN_DRAWS = 12  # beyond a quantile, for it to be estimated


def critical_value(posterior: Posterior, significance: float = SIGNIFICANCE) -> float:
    """How many standard deviations hold all k values at once, but for a probability.

    Args:
        posterior: of the k values.
        significance: the probability that at least one of them lies outside.
    """
    std = posterior.std  # [k]
    used = std > 1e-9 * max(float(std.max()), 1e-12)  # [k]; the reference itself does not vary
    if not used.any():
        return 1.96
    if significance * _NUM_DRAWS < _MIN_DRAWS:
        # Too rare to be drawn: Bonferroni's bound allows for each value by itself.
        from scipy.stats import norm

        return float(norm.ppf(1.0 - 0.5 * significance / used.sum()))
    draws = draw_normal(posterior.covariance[np.ix_(used, used)], _NUM_DRAWS)
    return float(np.quantile(np.abs(draws / std[used]).max(1), 1.0 - significance))


def draw_normal(covariance: np.ndarray, num_draws: int) -> np.ndarray:
    """Draws from N(0, Σ), the same ones each time: z = V Λ^½ ε, where Σ = V Λ Vᵀ and ε ~ N(0, I).

    Args:
        covariance: Σ, float64 [k, k]; it may be singular.
        num_draws: how many.

    Returns:
        Float64 [num_draws, k].
    """
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)  # [k], [k, k]
    root = eigenvectors * np.sqrt(eigenvalues.clip(0.0))  # V Λ^½, [k, k]
    noise = np.random.default_rng(0).normal(size=(num_draws, len(eigenvalues)))
    return np.asarray(noise @ root.T)
