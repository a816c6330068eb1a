"""What earlier searches on other tasks are worth to one: leave-one-task-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_quality.clock import seed_of, simulate
from benchmarks.search_quality.methods.base import METRIC
from benchmarks.search_quality.methods.curves import Curves
from benchmarks.search_quality.tasks import Source
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.transfer import EarlierRun, EarlierTrial, reached
from raysweep.core.errors import UserError

__all__ = ["EARLIER", "MISLED", "EarlierSearch", "misleading", "others"]

EARLIER, MISLED = "curves+earlier", "curves+misled"  # methods: runs as they are, and upside down
_BUDGET = 10  # of each earlier search, in full trainings


class _Noted(Curves):
    """The searcher, with its trials' curves."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.params: dict[int, Mapping[str, Any]] = {}
        self.histories: dict[int, list[dict[str, Any]]] = {}

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        super().started(trial, params)
        self.params[trial], self.histories[trial] = params, []

    def report(self, trial: int, epoch: int, value: float) -> None:
        super().report(trial, epoch, value)
        self.histories[trial].append({"epoch": epoch, METRIC: value})


@dataclass(frozen=True)
class EarlierSearch:
    """An ordinary search of 10 full trainings on a task.

    Attributes:
        curves: see `Source`.
        task: its name.
    """

    curves: Path
    task: str

    def run(self) -> EarlierRun:
        """What another search takes over of it, fitted."""
        task = Source.at(self.curves).load(self.task)
        seed = seed_of(self.task, -1)  # no seed of a search that is compared
        method = _Noted(task.space, seed, task.max_t)
        simulate(task, method, num_epochs=_BUDGET * task.max_t, seed=seed)
        trials = [
            EarlierTrial(k, method.params[k], reached(history, METRIC, "max", task.max_t))
            for k, history in method.histories.items()
            if history
        ]
        return EarlierRun(self.task, task.max_t, trials).fitted(Encoder(task.space), "max")


def others(task: str, seed: int, tasks: Sequence[str], count: int) -> list[str]:
    """The tasks whose searches came before one: so many others, drawn anew for each seed.

    Raises:
        UserError: there are not so many.
    """
    left = [name for name in tasks if name != task]
    if not 1 <= count <= len(left):
        raise UserError(
            f"--transfer {count}: beside {task} there are {len(left)} tasks; see --tasks"
        )
    rng = np.random.default_rng(seed_of(task, seed))
    return [left[k] for k in rng.permutation(len(left))[:count]]


def misleading(run: EarlierRun, task: Any) -> EarlierRun:
    """The same run with the sign of all values changed: what was best is worst."""
    trials = [
        replace(t, reached={e: None if v is None else -v for e, v in t.reached.items()})
        for t in run.trials
    ]
    return replace(run, trials=trials, theta=None).fitted(Encoder(task.space), "max")
