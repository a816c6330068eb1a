"""How sure a ranking is: what trials are worth without their luck, and which could be the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raysweep.analysis.effects.bands import draw_normal

if TYPE_CHECKING:
    from raysweep.analysis.effects.estimate import EffectModel

__all__ = ["Certainty", "certainty"]

_NUM_DRAWS = 4000
_Z = 1.959964  # half-width of a 95% interval, in standard deviations


@dataclass(frozen=True)
class Certainty:
    """Estimates of n configurations, each better than the default's by so much.

    Attributes:
        rows: of the trials that were looked at, the best estimate first, int [n].
        gain: better than the default configuration, in the metric's unit, float64 [n].
        half_width: of the 95% interval around each, float64 [n].
        chance_best: the probability that a trial's configuration is the best of all, float64 [n].
        num_rivals: how many others cannot be told from the best measured one: the 95% interval of
            the difference holds 0.
        better_than_default: the probability that the best measured one is better than the default.
        residual_std: standard deviation of what a trial owes to its seed and to what fields do not
            explain.
        best: index of the best measured trial among the rows.
    """

    rows: np.ndarray
    gain: np.ndarray
    half_width: np.ndarray
    chance_best: np.ndarray
    num_rivals: int
    better_than_default: float
    residual_std: float
    best: int


def certainty(model: EffectModel, best: int, default: int) -> Certainty | None:
    """Computes how sure the ranking of a search's trials is.

    Args:
        model: fitted to the trials.
        best: row of the best measured trial.
        default: row of the trial of the default configuration.

    Returns:
        None where the model does not know both trials, the default as its first.
    """
    rows = np.array(model.rows)  # [n]
    if best not in rows or rows[0] != default:
        return None
    mean, covariance = posterior = model.gaussian_process.configurations()  # [n], [n, n]
    draws = mean + draw_normal(covariance, _NUM_DRAWS)  # [draws, n]
    wins = np.bincount(draws.argmax(1), minlength=len(mean)) / _NUM_DRAWS  # [n]
    b = int(np.flatnonzero(rows == best)[0])
    # The difference to the best measured one: Var(fᵢ − f_b) = Σᵢᵢ + Σ_bb − 2 Σ_bᵢ, [n].
    variance = covariance.diagonal() + covariance[b, b] - 2.0 * covariance[b]
    alike = np.abs(mean - mean[b]) <= _Z * np.sqrt(variance.clip(0.0)) + 1e-12
    order = np.argsort(-mean, kind="stable")
    return Certainty(
        rows=rows[order],
        gain=mean[order],
        half_width=_Z * posterior.std[order],
        chance_best=wins[order],
        num_rivals=int(alike.sum()) - 1,  # it is like itself
        better_than_default=float((draws[:, b] > draws[:, 0]).mean()),
        residual_std=model.gaussian_process.residual_std,
        best=int(np.flatnonzero(order == b)[0]),
    )
