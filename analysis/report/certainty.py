"""How sure a ranking is: what trials are worth without their luck, and which could be the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from raysweep.analysis.report.trials import Trials

__all__ = ["Certainty", "certainty"]

_DRAWS = 4000
_Z = 1.959964  # half-width of a 95% interval, in standard deviations


@dataclass(frozen=True)
class Certainty:
    """Estimates of configurations, each better than the default's by so much.

    Attributes:
        rows: of the trials that were looked at, the best estimate first, int [n].
        gain: better than the default configuration, [n].
        half_width: of the 95% interval around each, [n].
        chance_best: the probability that a trial's configuration is the best of all, [n].
        rivals: how many others cannot be told from the best measured one: the 95% interval of the
            difference holds 0.
        better_than_default: the probability that the best measured one is better than the default.
        luck: standard deviation of what a trial owes to its seed and to what fields do not explain.
        best: place of the best measured trial among the rows.
    """

    rows: np.ndarray
    gain: np.ndarray
    half_width: np.ndarray
    chance_best: np.ndarray
    rivals: int
    better_than_default: float
    luck: float
    best: int


def certainty(trials: Trials) -> Certainty | None:
    """From the process behind the effects; None where trials are too few or the default failed."""
    if trials.answers is None or trials.best is None or trials.default is None:
        return None
    rows = np.array(trials.answers.trials)
    if trials.best not in rows or rows[0] != trials.default:
        return None
    mean, covariance = trials.answers.process.configurations()
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0.0))
    draws = mean + np.random.default_rng(0).normal(size=(_DRAWS, len(mean))) @ root.T
    winners = np.bincount(draws.argmax(1), minlength=len(mean)) / _DRAWS
    deviation = np.sqrt(covariance.diagonal().clip(0.0))
    best = int(np.flatnonzero(rows == trials.best)[0])
    apart = mean - mean[best]
    spread = covariance.diagonal() + covariance[best, best] - 2.0 * covariance[best]
    alike = np.abs(apart) <= _Z * np.sqrt(spread.clip(0.0)) + 1e-12
    order = np.argsort(-mean, kind="stable")
    return Certainty(
        rows=rows[order],
        gain=mean[order],
        half_width=_Z * deviation[order],
        chance_best=winners[order],
        rivals=int(alike.sum()) - 1,
        better_than_default=float((draws[:, best] > draws[:, 0]).mean()),
        luck=trials.answers.process.luck,
        best=int(np.flatnonzero(order == best)[0]),
    )
