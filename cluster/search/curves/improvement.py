"""How much a candidate is expected to improve on the best, and how far it is from others."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from raysweep.cluster.search.curves.process import Floats

__all__ = ["least_squares", "log_expected_improvement"]


def least_squares(left: Floats, right: Floats) -> Floats:
    """Squared distance of each row to the nearest of others, [n, d] and [m, d] to [n]."""
    squares = (left * left).sum(1)[:, None] + (right * right).sum(1)[None] - 2 * left @ right.T
    out: Floats = squares.min(1)
    return out


def log_expected_improvement(mean: Floats, sd: Floats, best: float) -> Floats:
    """Logarithm of the expected improvement over `best`, [n].

    Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023: far below, the
    improvement itself would be 0.
    """
    u = (mean - best) / sd
    log_density = -0.5 * u * u - 0.5 * np.log(2 * np.pi)
    with np.errstate(all="ignore"):
        usual = np.log(np.exp(log_density) + u * ndtr(u))
        ratio = np.exp(log_ndtr(u) - log_density)  # Φ/φ
        below = log_density + np.log1p(np.maximum(u * ratio, -1 + 1e-12))
        far = log_density - 2 * np.log(np.abs(u))
    out: Floats = np.where(u > -1, usual, np.where(u > -25, below, far)) + np.log(sd)
    return out
