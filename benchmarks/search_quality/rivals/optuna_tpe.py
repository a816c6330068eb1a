"""Optuna's TPE as its documentation has it: default settings, full trainings."""

from __future__ import annotations

import math
from typing import Any

import optuna

__all__ = ["Rival"]


class Rival:
    """See `benchmarks.search_quality.methods.base.Method`; work and params are dictionaries."""

    def __init__(self, space: list[dict[str, Any]], seed: int, max_t: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        self._space, self._max_t = space, max_t
        self._asked: optuna.Trial | None = None
        self._numbers: dict[int, int] = {}
        self._best: dict[int, float] = {}

    def next(self) -> dict[str, Any]:
        """A full training."""
        self._asked = trial = self._study.ask()
        for p in self._space:
            if p["whole"]:
                trial.suggest_int(p["name"], int(p["low"]), int(p["high"]), log=p["log"])
            else:
                trial.suggest_float(p["name"], p["low"], p["high"], log=p["log"])
        return {"trial": len(self._numbers), "target": self._max_t, "params": trial.params}

    def started(self, trial: int, params: dict[str, Any]) -> None:
        """Notes the trial, which may have the params of a table's row."""
        asked = self._asked
        assert asked is not None
        self._numbers[trial], self._best[trial] = asked.number, -math.inf
        if params == asked.params:
            return
        # A table has another row: Optuna learns of that one.
        self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=params,
                distributions=asked.distributions,
            )
        )
        self._numbers[trial] = len(self._study.get_trials(deepcopy=False)) - 1

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Notes a value."""
        self._best[trial] = max(self._best[trial], value)

    def arrived(self, trial: int, epoch: int) -> None:
        """Tells the best value."""
        self._study.tell(self._numbers[trial], self._best[trial])

    def failed(self, trial: int, epoch: int) -> None:
        """Tells that there is none."""
        self._study.tell(self._numbers[trial], state=optuna.trial.TrialState.FAIL)
