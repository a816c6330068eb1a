"""What each searched field did to the metric, with intervals, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.additive_process import AdditiveProcess, Observations
from analysis.columns import Column, columns

__all__ = ["Effect", "estimate_effects"]

_MIN_TRIALS = 12
_MOST_TRIALS = 300  # time grows with the cube, memory with the square
_MAX_LEVELS = 4
_DRAWS = 4000
_LEAST_SHARE = 0.5
_FAR = 6.0  # times the median distance from the best: what lies beyond counts as lying there


@dataclass(frozen=True)
class Effect:
    """A field's effect on the metric at the full number of epochs, other fields averaged over.

    Attributes:
        field: its name.
        grid: g values, numbers in order or words.
        reference: the value that others are compared with.
        gain: how much better the metric is than at the reference, [g]; above 0 is better, whether
            the metric is to be small or large.
        half_width: of the 95% interval around each gain, simultaneous over all g, [g].
        tried: what the trials had, one value each.
        log: whether the grid is even in ratios.
    """

    field: str
    grid: tuple[Any, ...]
    reference: Any
    gain: np.ndarray
    half_width: np.ndarray
    tried: tuple[Any, ...]
    log: bool

    @property
    def helps(self) -> np.ndarray:
        """Where the whole interval is above 0, bool [g].

        Nowhere, if the effect is less than half of its largest there: close to the reference a
        slope is soon certain, and says little.
        """
        return _where(self.gain, self.half_width)

    @property
    def hurts(self) -> np.ndarray:
        """Where the whole interval is below 0, likewise, bool [g]."""
        return _where(-self.gain, self.half_width)

    @property
    def verdict(self) -> str:
        """helps, hurts, both (some values help, others hurt) or no measurable difference."""
        if self.helps.any():
            return "both" if self.hurts.any() else "helps"
        return "hurts" if self.hurts.any() else "no measurable difference"


def _where(gain: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    sure = np.asarray(gain - half_width > 0)
    if sure.any() and gain[sure].max() < _LEAST_SHARE * gain.max():
        return np.zeros_like(sure)
    return sure


def estimate_effects(
    configs: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[float]],
    fields: Sequence[str],
    mode: str,
) -> list[Effect]:
    """Estimates what each field does, the most important one first.

    Of more than 300 trials, 300 evenly spaced ones are used, the first and the last among them.
    Trials much worse than most (`_FAR`) count as no worse than that: a network that learned nothing
    would else outweigh all others.

    Args:
        configs: configuration of each trial, the default first.
        curves: the metric after each epoch of each trial; empty for a failed trial.
        fields: what was searched.
        mode: "min" or "max".

    Returns:
        One effect a column of `analysis.columns.columns`; none where fewer than 12 trials have a
        result or nothing differs.
    """
    judged = [k for k, curve in enumerate(curves) if len(curve)]
    if len(judged) < _MIN_TRIALS:
        return []
    if len(judged) > _MOST_TRIALS:
        places = np.linspace(0, len(judged) - 1, _MOST_TRIALS).round().astype(int)
        judged = [judged[place] for place in places]
    found = columns([configs[k] for k in judged], fields)
    if not found:
        return []
    observations = _observe([curves[k] for k in judged], 1.0 if mode == "max" else -1.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices of a few hundred rows: threads would wait for each other
    try:
        process = AdditiveProcess(found, observations)
        effects = [_effect(process, k, column) for k, column in enumerate(found)]
    finally:
        torch.set_num_threads(threads)
    return sorted(effects, key=lambda e: -float(np.abs(e.gain / e.half_width.clip(1e-12)).max()))


def _observe(curves: Sequence[Sequence[float]], sign: float) -> Observations:
    """The best so far of each trial at those numbers of epochs at which most trials ended."""
    lengths, counts = np.unique([len(curve) for curve in curves], return_counts=True)
    often = lengths[:-1][np.argsort(-counts[:-1], kind="stable")[: _MAX_LEVELS - 1]]
    rows = []
    for level, length in enumerate([*sorted(often), lengths[-1]]):
        for trial, curve in enumerate(curves):
            if len(curve) >= length:
                rows.append((trial, level, float(np.max(sign * np.asarray(curve[:length])))))
    trials, levels, results = (np.array(column) for column in zip(*rows, strict=True))
    for level in range(len(often) + 1):
        mine = levels == level
        results[mine] = _clipped(results[mine])
    return Observations(trials, levels, results)


def _clipped(results: np.ndarray) -> np.ndarray:
    best, middle = results.max(), np.median(results)
    return np.asarray(results.clip(best - _FAR * (best - middle)))


def _effect(process: AdditiveProcess, index: int, column: Column) -> Effect:
    grid = column.grid()
    gain, covariance = process.effect(index, grid)
    deviation = np.sqrt(covariance.diagonal().clip(0.0))
    half_width = _critical(covariance, deviation) * deviation
    return Effect(
        column.name, tuple(grid), column.reference, gain, half_width, column.values, column.log
    )


def _critical(covariance: np.ndarray, deviation: np.ndarray) -> float:
    """How many deviations hold a whole curve with 95% probability."""
    used = deviation > 1e-9 * max(float(deviation.max()), 1e-12)
    if not used.any():
        return 1.96
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)])
    root = vectors * np.sqrt(values.clip(0.0))
    draws = np.random.default_rng(0).normal(size=(_DRAWS, len(values))) @ root.T
    return float(np.quantile(np.abs(draws / deviation[used]).max(1), 0.95))
