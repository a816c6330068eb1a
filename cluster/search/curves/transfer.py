"""What earlier runs are worth to a search: what their curves lead to expect of a configuration.

A Gaussian process is fitted to each earlier run by itself, and says what it expects of any
configuration at any epoch. To the process of the search, these guesses are features with a linear
effect: together they have the weight 1 before anything is known, and any other, also none, once
results say so. So a run that misleads is soon forgotten, and rows of earlier runs take no room.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raysweep.cluster.search.curves.curve import Curve, observed, pause_levels, watched_epochs
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.process import CurveProcess, Floats
from raysweep.search_spaces import Suggest

__all__ = ["EarlierRun", "EarlierTrial", "Sources", "adopt", "dump", "load", "reached"]

_MOST_ROWS = 200  # of each run
_STEPS = 30  # of its fit, which happens once
_BEST = 10  # of its configurations: candidates of every decision


@dataclass(frozen=True)
class EarlierTrial:
    """What is taken over of a trial.

    Attributes:
        index: its number in its run.
        params: by the new space's names, as far as it had them.
        reached: its best value so far by epoch; None for none.
    """

    index: int
    params: Mapping[str, Any]
    reached: Mapping[int, float | None]


@dataclass(frozen=True)
class EarlierRun:
    """What is taken over of a run.

    Attributes:
        run: its folder.
        max_t: epochs of a whole training then.
        trials: those with a result.
        theta: parameters of the process that was fitted to it; None if none was.
    """

    run: str
    max_t: int
    trials: Sequence[EarlierTrial]
    theta: Sequence[float] | None = None

    def fitted(self, encoder: Encoder, mode: str) -> EarlierRun:
        """The same with its `theta`, so that it is not fitted again, on whatever machine."""
        theta = _Source(self, encoder, mode).process.theta
        return EarlierRun(self.run, self.max_t, self.trials, [float(t) for t in theta])


def dump(runs: Iterable[EarlierRun]) -> str:
    """A line of JSON a run."""
    return "".join(json.dumps(asdict(run)) + "\n" for run in runs)


def load(text: str) -> list[EarlierRun]:
    """What `dump` wrote."""
    runs = []
    for line in text.splitlines():
        record = json.loads(line)
        trials = [
            EarlierTrial(t["index"], t["params"], {int(e): v for e, v in t["reached"].items()})
            for t in record["trials"]
        ]
        runs.append(EarlierRun(record["run"], record["max_t"], trials, record["theta"]))
    return runs


def reached(
    history: Iterable[Mapping[str, Any]], metric: str, mode: str, max_t: int
) -> dict[int, float | None]:
    """A trial's best finite value so far, at the levels and at its last epoch; None before any.

    Args:
        history: one dictionary an epoch, with `epoch`.
        metric: whose values.
        mode: "min" or "max".
        max_t: epochs of a whole training of its run.
    """
    levels, better = set(pause_levels(max_t)), max if mode == "max" else min
    best: float | None = None
    epoch, found = 0, {}
    for result in history:
        value, epoch = float(result.get(metric, math.nan)), int(result["epoch"])
        if math.isfinite(value):
            best = value if best is None else better(best, value)
        if epoch in levels:
            found[epoch] = best
    return {**found, epoch: best} if epoch else {}


class _Nearest:
    """Answers a space with the nearest that it allows to known values; notes which were known."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.params: dict[str, Any] = {}

    def _number(self, name: str, low: float, high: float, step: float | None) -> float:
        value = self._values.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value):
            return low
        number = min(max(value, low), high)
        if step:
            number = low + step * min(round((number - low) / step), int((high - low) / step + 1e-9))
        self.params[name] = number
        return number

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._number(name, float(low), float(high), step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._number(name, low, high, step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._values.get(name)
        if name not in self._values or value not in choices:
            return choices[0]
        self.params[name] = value
        return value


def adopt(suggest: Suggest, values: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a space for a configuration that may lie outside.

    Args:
        suggest: the space.
        values: by its names; others are left out.

    Returns:
        numbers outside their range at its nearest end; no value for a choice that is none now, or
        for what is not known.
    """
    trial = _Nearest(values)
    suggest(trial)
    return trial.params


class _Source:
    """The process of an earlier run."""

    def __init__(self, run: EarlierRun, encoder: Encoder, mode: str) -> None:
        sign = 1.0 if mode == "max" else -1.0
        curves = []
        for trial in run.trials:
            features, place = encoder.features(trial.params), encoder.place(trial.params)
            values = {e: -math.inf if v is None else sign * v for e, v in trial.reached.items()}
            curves.append(Curve(trial.index, features, place, run.max_t, reached=values))
        rows, z = observed(curves, run.max_t, _MOST_ROWS)
        theta = None if run.theta is None else np.array(run.theta)
        self.process = CurveProcess(encoder.fields, theta)
        if theta is None:
            self.process.fit(rows, z, steps=_STEPS)
        self._posterior = self.process.condition(rows, z)
        at_end = self.expects(np.array([c.features for c in curves]), np.ones(1))[:, 0]
        self.best = np.array([curves[k].place for k in np.argsort(-at_end, kind="stable")[:_BEST]])

    def expects(self, features: Floats, times: Floats) -> Floats:
        """Of configurations, [n, num_features], at these times, [m]; [n, m]."""
        return self._posterior.expects(features, times)


class Sources:
    """What earlier runs lead to expect, in the normal scores of their own results.

    Args:
        runs: at least one, with a trial each.
        encoder: of the new space.
        mode: "min" or "max".

    Attributes:
        best: places in the cube of the configurations that each liked best, [n, num_axes].
    """

    def __init__(self, runs: Sequence[EarlierRun], encoder: Encoder, mode: str) -> None:
        self._each = [_Source(run, encoder, mode) for run in runs]
        self.best = np.concatenate([source.best for source in self._each])

    def __len__(self) -> int:
        return len(self._each)

    def at_end(self, features: Floats) -> Floats:
        """Of whole trainings, [n, num_features] to [n, num_sources]."""
        return np.stack([s.expects(features, np.ones(1))[:, 0] for s in self._each], axis=1)

    def at(self, features: Floats, times: Floats) -> Floats:
        """Of each configuration, [n, num_features], at its time, [n]; [n, num_sources]."""
        moments, which = np.unique(times, return_inverse=True)
        row = np.arange(len(times))
        return np.stack([s.expects(features, moments)[row, which] for s in self._each], axis=1)

    def guesses(self, features: Floats, max_t: int) -> Mapping[int, Floats]:
        """Of one configuration, [num_features], by epoch; [num_sources] each."""
        return _Guesses(self, features, max_t)

    def at_epochs(self, features: Floats, epochs: Sequence[int], max_t: int) -> Floats:
        """Of one configuration, [num_features], at n epochs; [n, num_sources]."""
        times = np.log(np.array(epochs, float)) / np.log(max(max_t, 2))
        return np.stack([s.expects(features[None], times)[0] for s in self._each], axis=1)


class _Guesses(dict[int, Floats]):
    """By epoch; those that are not watched are found out when they are asked for."""

    def __init__(self, sources: Sources, features: Floats, max_t: int) -> None:
        self._sources, self._features, self._max_t = sources, features, max_t
        epochs = watched_epochs(max_t)
        super().__init__(zip(epochs, sources.at_epochs(features, epochs, max_t), strict=True))

    def __missing__(self, epoch: int) -> Floats:
        self[epoch] = self._sources.at_epochs(self._features, [epoch], self._max_t)[0]
        return self[epoch]
