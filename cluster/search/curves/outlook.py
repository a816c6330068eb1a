"""What further training is expected to bring, and where each trial would end. No Ray, no clock.

Nothing here changes what a search decides: it is for people, and for `--until`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from raysweep.cluster.search.curves.curve import (
    Curve,
    known_points,
    normal_scores,
    observed,
    rows_at,
)
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.improvement import log_expected_improvement
from raysweep.cluster.search.curves.process import CurveProcess, Floats, Rows
from raysweep.cluster.search.curves.transfer import Sources

__all__ = ["Outlook"]

_NEW, _NEAR = 67, 33  # configurations that might be started: anywhere, and near the best trials
_CENTRES = 5
_SHARE_NEW = 0.4  # of further epochs, for first stages, as the search has it
_DRAWS = 4096
# The process takes its own parameters for certain. These make up for it: with them, what was
# expected on 72 recorded searches is what came, to within a factor of two; see docs/search.md.
_FREEDOM, _WIDER = 3.0, 1.5
_BAND = 3.3  # standard deviations that hold the final value 19 times in 20, for the same reason
_TOP = 8  # values from which it is read how far apart the best ones are


class _Scale:
    """From normal scores to the metric and its sign: between known values straight lines.

    Beyond the best value the line goes on that leads there from the eighth best one, or from one
    nearer to it where there are few.

    Args:
        values: known values, the more the better, [n].
        scores: their scores, [n].
    """

    def __init__(self, values: Floats, scores: Floats) -> None:
        finite = np.isfinite(values)
        worst = values[finite].min() if finite.any() else 0.0
        self._values, first = np.unique(np.where(finite, values, worst), return_index=True)
        self._scores = scores[first]
        back = max(1, min(_TOP, len(first) // 6))
        self._slope = 0.0
        if len(first) > back:
            rise = self._values[-1] - self._values[-1 - back]
            self._slope = float(rise / (self._scores[-1] - self._scores[-1 - back]))

    def __call__(self, scores: Floats) -> Floats:
        """Values of some scores."""
        beyond = np.maximum(scores - self._scores[-1], 0.0)
        out: Floats = np.interp(scores, self._scores, self._values) + self._slope * beyond
        return out


class Outlook:
    """What the process expects of trials that could go on, and of new ones.

    Args:
        curves: what is known of all trials.
        process: as it was last fitted; it is not changed.
        encoder: of the space.
        levels: the epochs at which trials pause, and the last one.
        sign: 1 where large values of the metric are good, -1 where small ones are.
        seed: of the draws.
        sources: what earlier runs lead to expect; nothing by default.
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        process: CurveProcess,
        encoder: Encoder,
        levels: Sequence[int],
        sign: float,
        seed: Sequence[int],
        sources: Sources | None = None,
    ) -> None:
        self._sources = sources
        self._process, self._encoder, self._levels, self._sign = process, encoder, levels, sign
        self._max_t, self._seed = levels[-1], seed
        self._curves = [_until_now(c) for c in curves if c.features is not None]
        self._rows, z = observed(self._curves, self._max_t)
        _, _, values = known_points(self._curves)
        scores = normal_scores(values)
        self._scale, self._best = _Scale(values, scores), float(scores.max())
        self._posterior = process.condition(self._rows, z)

    def finals(self, trials: Iterable[int]) -> dict[int, tuple[float, float, float]]:
        """Where trials would end if each were trained whole.

        Args:
            trials: their indexes; those that the space cannot express are left out.

        Returns:
            for each, the best value that is expected of its whole training and the ends of a 95%
            interval, the lower number first; in the metric's units. None of them is worse than what
            the trial has reached.
        """
        wanted = set(trials)
        asked = [c for c in self._curves if c.index in wanted and c.reached]
        if not asked:
            return {}
        mean, covariance = self._posterior.together(
            rows_at(asked, [self._max_t] * len(asked), self._max_t)
        )
        sd = np.sqrt(np.maximum(np.diag(covariance), 0.0) + self._process.noise)
        reached = np.array([-np.inf if c.best is None else c.best for c in asked])
        three = (np.maximum(self._scale(mean + k * sd), reached) for k in (0.0, -_BAND, _BAND))
        found = [self._sign * values for values in three]
        return {
            c.index: (float(middle), float(min(ends)), float(max(ends)))
            for c, middle, *ends in zip(asked, *found, strict=True)
        }

    def reasons(self, trial: int) -> dict[str, Any]:
        """What speaks for a trial, as the ledger keeps it.

        Returns:
            `final`, what is expected of it and the ends of the interval (see `finals`), and `best`,
            the best value of all trials so far.
        """
        best = self._sign * float(self._scale(np.array([self._best]))[0])
        final = self.finals([trial]).get(trial)
        return {} if final is None else {"final": [_short(v) for v in final], "best": _short(best)}

    def gain(self, epochs: float, *, may_start: bool = True) -> float:
        """By how much further training is expected to improve the best value.

        These epochs are spent as the search would spend them if it learned nothing on the way: what
        is under way goes on to where it pauses; of the rest, two fifths go to first stages of new
        configurations (of 100, a third of them near the best trials) and the others to paused
        trials, each time to the one whose final value promises the largest expected improvement
        for its costs. From the process's posterior, 4096 sets of the values that these trials would
        have are drawn together. A draw is heavier in its tails than normal (Student's t, three
        degrees of freedom, scale 1.5), because the process's own parameters are not certain. Of
        each set the best value counts, as a normal score; it becomes a value of the metric by
        straight lines between the known values, and beyond the best of them by the line through
        it and the eighth best (nearer ones of fewer than 48). The gain is the mean over all sets
        of how much better than the best known value that is, 0 where it is not.

        It is a function of the seed and of what is known, and takes some 20 ms.

        Args:
            epochs: that will be trained.
            may_start: whether new trials may be started.

        Returns:
            the gain, at least 0, in the metric's units.
        """
        rng = np.random.default_rng(np.random.SeedSequence(self._seed))
        alive = [c for c in self._curves if not c.over]
        new = self._new(rng) if may_start else np.zeros((0, len(self._encoder.fields)))
        features = np.concatenate([*(np.array([c.features]) for c in alive), new])
        indexes = np.array([*(c.index for c in alive), *(-1 - np.arange(len(new)))], np.int64)
        begun = np.array([*(c.epoch for c in alive), *(0 for _ in new)], float)
        ahead = np.array(
            [*(c.target - c.epoch if c.running else 0 for c in alive), *(0 for _ in new)]
        )
        if not len(indexes):
            return 0.0
        mean, sd = self._posterior.at(self._asked(features, indexes, np.ones(len(indexes))))
        worth = log_expected_improvement(mean, sd, self._best)
        reach = self._spend(epochs, begun, ahead, worth)
        on = np.flatnonzero((reach > begun) & (reach >= 1))
        if not len(on):
            return 0.0
        times = np.log(reach[on]) / np.log(max(self._max_t, 2))
        mean, covariance = self._posterior.together(self._asked(features[on], indexes[on], times))
        spread, axes = np.linalg.eigh(covariance)
        # Tails as heavy as they should be in every estimate, and not by luck.
        shares = (rng.permutation(_DRAWS)[:, None] + 0.5) / _DRAWS
        heavy = _WIDER * np.sqrt(_FREEDOM / chdtri(_FREEDOM, shares))
        normal = rng.standard_normal((_DRAWS, len(on))) * np.sqrt(np.maximum(spread, 0.0))
        best = (mean + heavy * (normal @ axes.T)).max(1)
        better = self._scale(best) - self._scale(np.array([self._best]))
        return float(np.maximum(better, 0.0).mean())

    def _asked(self, features: Floats, trials: NDArray[np.int64], times: Floats) -> Rows:
        guesses = None if self._sources is None else self._sources.at(features, times)
        return Rows(features, trials, times, guesses)

    def _new(self, rng: np.random.Generator) -> Floats:
        """Features of configurations that might be started, [n, num_features]."""
        d = self._encoder.num_axes
        places = [rng.random((_NEW, d))]
        ranked = sorted(
            (c for c in self._curves if c.best is not None), key=lambda c: -(c.best or 0)
        )
        if ranked:
            centres = np.array([c.place for c in ranked[:_CENTRES]])
            near = centres[rng.integers(len(centres), size=_NEAR)]
            moved = rng.random((_NEAR, d)) < max(0.35, 1.5 / max(d, 1))
            sizes = 10.0 ** rng.uniform(-2, -0.5, (_NEAR, 1))
            places.append(np.clip(near + moved * sizes * rng.standard_normal((_NEAR, d)), 0, 1))
        return self._encoder.many(np.concatenate(places))

    def _spend(self, epochs: float, begun: Floats, ahead: Floats, worth: Floats) -> Floats:
        """The epoch that each candidate would reach, [n].

        Args:
            epochs: to spend.
            begun: epochs that each has had, [n]; 0 of a new one.
            ahead: how far those under way still go, [n].
            worth: logarithm of the improvement that the final value of each promises, [n].
        """
        total = float(ahead.sum())
        reach = begun + ahead * min(1.0, epochs / total if total else 1.0)
        left = epochs - total
        for_new = _SHARE_NEW * left
        levels = np.array(self._levels, float)
        while left > 0:
            place = np.searchsorted(levels, reach, side="right")
            open_ = place < len(levels)
            stage = levels[np.minimum(place, len(levels) - 1)] - reach
            first = reach == 0
            wanted = open_ & (first if for_new > 0 else ~first)
            if not wanted.any():
                if for_new > 0:
                    for_new = 0.0
                    continue
                break
            value = np.where(wanted, worth - 0.5 * np.log(np.maximum(stage, 1e-9)), -np.inf)
            one = int(np.argmax(value))
            step = min(float(stage[one]), left)
            for_new -= step if first[one] else 0.0
            left -= step
            reach[one] += step
        return reach


def _short(value: float) -> float:
    """Six digits."""
    return float(f"{value:.6g}")


def _until_now(curve: Curve) -> Curve:
    """The same with a point where it is now, also between two levels."""
    if not curve.epoch or curve.epoch in curve.reached:
        return curve
    now = -np.inf if curve.best is None else curve.best
    return dataclasses.replace(curve, reached={**curve.reached, curve.epoch: now})
