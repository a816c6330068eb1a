"""SMAC3's multi-fidelity facade, Hyperband with a random forest, default settings.

Lindauer et al., "SMAC3", JMLR 23, 2022. A configuration that comes again with a larger budget goes
on from where it was. It is told the best value so far. Of a table's row it learns the value alone:
its brackets wait for the very configuration that they asked for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ConfigSpace import ConfigurationSpace, Float, Integer
from smac import MultiFidelityFacade, Scenario
from smac.runhistory import StatusType, TrialInfo, TrialValue

__all__ = ["Rival"]

_MANY = 1_000_000


class Rival:
    """See `benchmarks.search_quality.methods.base.Method`; work and params are dictionaries."""

    def __init__(self, space: list[dict[str, Any]], seed: int, max_t: int) -> None:
        configurations = ConfigurationSpace(seed=seed)
        for p in space:
            kind, number = (Integer, int) if p["whole"] else (Float, float)
            ends = (number(p["low"]), number(p["high"]))
            configurations.add(kind(p["name"], ends, log=p["log"]))
        scenario = Scenario(
            configurations,
            deterministic=True,
            n_trials=_MANY,
            min_budget=1,
            max_budget=max_t,
            seed=seed,
            output_directory=Path("smac"),
        )
        # It is never called: work is asked for, and told of.
        self._smac = MultiFidelityFacade(
            scenario, lambda config, seed, budget: 0.0, logging_level=False, overwrite=True
        )
        self._trials: dict[Any, int] = {}
        self._asked: dict[int, TrialInfo] = {}
        self._epochs: dict[int, int] = {}
        self._best: dict[int, float] = {}

    def next(self) -> dict[str, Any]:
        """What its brackets need."""
        while True:
            info = self._smac.ask()
            trial = self._trials.setdefault(info.config, len(self._trials))
            self._asked[trial] = info
            target = round(info.budget)
            if trial not in self._epochs:
                return {"trial": trial, "target": target, "params": dict(info.config)}
            if self._epochs[trial] < target:
                return {"trial": trial, "target": target}
            self.arrived(trial, target)  # It has been there.

    def started(self, trial: int, params: dict[str, Any]) -> None:
        """Notes that the trial runs."""
        self._epochs[trial], self._best[trial] = 0, -math.inf

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Notes a value."""
        self._epochs[trial] = epoch
        self._best[trial] = max(self._best[trial], value)

    def arrived(self, trial: int, epoch: int) -> None:
        """Tells the best value so far."""
        self._smac.tell(self._asked[trial], TrialValue(cost=-self._best[trial]))

    def failed(self, trial: int, epoch: int) -> None:
        """Tells that it crashed."""
        crashed = TrialValue(cost=math.inf, status=StatusType.CRASHED)
        self._smac.tell(self._asked[trial], crashed)
