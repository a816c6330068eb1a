"""The searchers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.search_quality.methods.base import Method
from benchmarks.search_quality.methods.curves import Curves
from benchmarks.search_quality.methods.pausing import Hyperband, Promoting
from benchmarks.search_quality.methods.remote import RIVAL_METHODS, Remote, require_rivals
from benchmarks.search_quality.methods.stopping import Stopping
from benchmarks.search_quality.tasks import Task
from raysweep.cluster.search.proposers import RandomProposer, TPEProposer

__all__ = ["METHODS", "RIVAL_METHODS", "build", "require"]


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
    "hyperband": lambda task, seed: Hyperband(_random(task, seed), task.max_t),
    "asha-promoting": lambda task, seed: Promoting(_random(task, seed), task.max_t, 3),
    "curves": lambda task, seed: Curves(task.space, seed, task.max_t),
    "tpe-asha-3": lambda task, seed: Stopping(_tpe(task, seed), task.max_t, 3),
}


def build(name: str, task: Task, seed: int) -> Method:
    """The searcher of that name, one of `METHODS` or `RIVAL_METHODS`."""
    if name in RIVAL_METHODS:
        return Remote(name, task.space, seed, task.max_t)
    return METHODS[name](task, seed)


def require(names: Sequence[str]) -> None:
    """Refuses searchers that cannot run here.

    Raises:
        UserError: it says how to install them.
    """
    require_rivals([name for name in names if name in RIVAL_METHODS])
