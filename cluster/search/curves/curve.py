"""What is known of the trials of a search: their curves, as rows for the process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from raysweep.cluster.search.curves.process import Floats, Rows

__all__ = [
    "Curve",
    "known_points",
    "normal_scores",
    "num_rows",
    "observed",
    "pause_levels",
    "rows_at",
    "under_way",
    "watched_epochs",
]

_MOST_ROWS = 300
_APART = 1.35  # the next epoch whose value counts is so many times as late


def pause_levels(max_t: int) -> list[int]:
    """The epochs at which trials pause, and the last one.

    The first is about max_t/27, and not the very first epoch of 8 or more: of the first one, ranks
    say little. Each of the others is about three times the one before.
    """
    first = max(1 if max_t < 8 else 2, round(max_t / 27))
    stages = max(1, math.ceil(math.log(max_t / first, 3) - 0.15)) if first < max_t else 1
    levels = {round(first * (max_t / first) ** (k / stages)) for k in range(stages)}
    return [*sorted(level for level in levels if level < max_t), max_t]


def watched_epochs(max_t: int) -> list[int]:
    """The epochs whose values are taken into account: each of the first, then ever fewer."""
    count = math.ceil(math.log(max_t, _APART)) if max_t > 1 else 0
    return sorted({*(round(_APART**k) for k in range(count)), *pause_levels(max_t)})


@dataclass
class Curve:
    """A trial, and its curve as far as it is known.

    Attributes:
        index: the trial's.
        features: of its configuration; None where the space cannot express it.
        place: of its configuration in the unit cube.
        target: the epoch that it was last sent to.
        running: whether it is on its way there.
        over: whether it cannot go on.
        reached: the best value so far, at each epoch reached whose value counts.
        best: the best finite value; None without any.
        epoch: epochs done.
        guesses: what earlier runs lead to expect by epoch, [num_sources] each; None without any.
    """

    index: int
    features: Floats | None
    place: Floats
    target: int
    running: bool = True
    over: bool = False
    reached: dict[int, float] = field(default_factory=dict)
    best: float | None = None
    epoch: int = 0
    guesses: Mapping[int, Floats] | None = None


def num_rows(curves: Iterable[Curve]) -> int:
    """How many rows there are, of configurations that the space can express."""
    return sum(len(each.reached) for each in curves if each.features is not None)


def rows_at(curves: Sequence[Curve], epochs: Sequence[float], max_t: int) -> Rows:
    """A row for each curve, at an epoch each."""
    times = np.log(np.array(epochs, float)) / np.log(max(max_t, 2))
    features = [c.features for c in curves if c.features is not None]
    indexes = np.array([c.index for c in curves], np.int64)
    pairs = zip(curves, epochs, strict=True)
    each = [c.guesses[int(e)] for c, e in pairs if c.guesses is not None]
    guesses = np.array(each) if each else None
    shaped = np.array(features).reshape(len(curves), -1 if features else 0)
    return Rows(shaped, indexes, times, guesses)


def observed(curves: Iterable[Curve], max_t: int, most: int = _MOST_ROWS) -> tuple[Rows, Floats]:
    """A row for each watched epoch that each trial has reached, at most so many, and their values.

    The value is the best one so far, as a rank among all: a normal score, standardised. A trial
    that has no value gets the worst there is.
    """
    trials, levels, values = known_points(curves)
    z = normal_scores(values)
    kept = _most_telling(trials, z, most)
    return rows_at([trials[k] for k in kept], [levels[k] for k in kept], max_t), z[kept]


def known_points(curves: Iterable[Curve]) -> tuple[list[Curve], list[int], Floats]:
    """Each level that each trial has reached: whose, which, and the best value until then; [n]."""
    trials: list[Curve] = []
    levels: list[int] = []
    values: list[float] = []
    for each in curves:
        for level, value in each.reached.items() if each.features is not None else ():
            trials.append(each)
            levels.append(level)
            values.append(value)
    return trials, levels, np.array(values)


def under_way(curves: Iterable[Curve], max_t: int) -> Rows:
    """A row for each trial that trains, where it will be when it pauses."""
    running = [c for c in curves if c.running and c.features is not None]
    return rows_at(running, [c.target for c in running], max_t)


def _most_telling(trials: list[Curve], z: Floats, most: int) -> list[int]:
    """At most so many rows: the better trials' last ones, more of these, and some of the others."""
    if len(z) <= most:
        return list(range(len(z)))
    last: dict[int, int] = {}
    for k, t in enumerate(trials):
        last[t.index] = k
    ranked = sorted(last.values(), key=lambda k: -z[k])
    better, others = ranked[: most // 2], ranked[most // 2 :]
    among = {trials[k].index for k in better}
    earlier = [k for k, t in enumerate(trials) if t.index in among and last[t.index] != k]
    earlier.sort(key=lambda k: -z[last[trials[k].index]])
    room = most - len(better)
    earlier = earlier[: room - min(len(others), room // 3)]
    room -= len(earlier)
    even = np.unique(np.linspace(0, len(others) - 1, min(room, len(others))).round().astype(int))
    return sorted([*better, *earlier, *(others[k] for k in even)])


def normal_scores(values: Floats) -> Floats:
    """Ranks as quantiles of a normal distribution, standardised; [n] to [n]."""
    finite = np.isfinite(values)
    worst = values[finite].min() if finite.any() else 0.0
    ranks = rankdata(np.where(finite, values, worst)) - 1.0
    z = ndtri((ranks + 0.5) / len(values))
    spread = z.std()
    out: Floats = (z - z.mean()) / (spread if spread > 0 else 1.0)
    return out
