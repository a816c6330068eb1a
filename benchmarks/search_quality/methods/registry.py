"""The searchers by name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.search_quality.methods.base import Method
from benchmarks.search_quality.methods.stopping import Stopping
from benchmarks.search_quality.tasks import Task
from raysweep.cluster.search.proposers import RandomProposer, TPEProposer

__all__ = ["METHODS"]


def _random(task: Task, seed: int) -> RandomProposer:
    return RandomProposer(task.space, seed)


def _tpe(task: Task, seed: int) -> TPEProposer:
    return TPEProposer(task.space, seed, "max")


METHODS: dict[str, Callable[[Task, int], Method]] = {
    "random": lambda task, seed: Stopping(_random(task, seed), task.max_t, task.max_t),
    "tpe": lambda task, seed: Stopping(_tpe(task, seed), task.max_t, task.max_t),
    "asha": lambda task, seed: Stopping(_random(task, seed), task.max_t, task.max_t // 4),
    "asha-3": lambda task, seed: Stopping(_random(task, seed), task.max_t, 3),
    "tpe-asha": lambda task, seed: Stopping(_tpe(task, seed), task.max_t, task.max_t // 4),
    "tpe-asha-3": lambda task, seed: Stopping(_tpe(task, seed), task.max_t, 3),
}
