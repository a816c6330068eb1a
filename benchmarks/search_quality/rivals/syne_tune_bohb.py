"""Syne Tune's BOHB: asynchronous successive halving with kernel densities, default settings.

Falkner et al., "BOHB", ICML 2018; Salinas et al., "Syne Tune", AutoML-Conf 2022. Trials are stopped
at rungs, the first of which is one epoch.
"""

from __future__ import annotations

import datetime
from typing import Any

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import lograndint, loguniform, randint, uniform
from syne_tune.optimizer.baselines import BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

__all__ = ["Rival"]

_FACTOR = 3  # its default


class Rival:
    """See `benchmarks.search_quality.methods.base.Method`; work and params are dictionaries."""

    def __init__(self, space: list[dict[str, Any]], seed: int, max_t: int) -> None:
        domains = {}
        for p in space:
            if p["whole"]:
                domain = lograndint if p["log"] else randint
                domains[p["name"]] = domain(int(p["low"]), int(p["high"]))
            else:
                domain = loguniform if p["log"] else uniform
                domains[p["name"]] = domain(p["low"], p["high"])
        self._bohb = BOHB(
            domains,
            metric="value",
            time_attr="epoch",
            max_t=max_t,
            do_minimize=False,
            random_seed=seed,
        )
        self._levels = [1]
        while self._levels[-1] * _FACTOR < max_t:
            self._levels.append(self._levels[-1] * _FACTOR)
        self._levels.append(max_t)
        self._trials: dict[int, Trial] = {}
        self._decisions: dict[int, str] = {}
        self._going_on: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        """A trial that was not stopped, or a new one."""
        if self._going_on:
            return self._going_on.pop(0)
        params = self._bohb.suggest().config
        return {"trial": len(self._trials), "target": self._levels[0], "params": params}

    def started(self, trial: int, params: dict[str, Any]) -> None:
        """Adds the trial, which may have the params of a table's row."""
        self._trials[trial] = Trial(trial, params, datetime.datetime.now())
        self._bohb.on_trial_add(self._trials[trial])

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Tells a value."""
        result = {"epoch": epoch, "value": value}
        self._decisions[trial] = self._bohb.on_trial_result(self._trials[trial], result)

    def arrived(self, trial: int, epoch: int) -> None:
        """Has it go on, if that was the decision."""
        if self._decisions[trial] == SchedulerDecision.CONTINUE:
            target = next(level for level in self._levels if level > epoch)
            self._going_on.append({"trial": trial, "target": target})

    def failed(self, trial: int, epoch: int) -> None:
        """Tells that it failed."""
        self._bohb.on_trial_error(self._trials[trial])
