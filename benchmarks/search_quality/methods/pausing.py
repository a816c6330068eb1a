"""Hyperband, and successive halving that promotes: random trials, paused at rungs and resumed.

Li et al., "Hyperband", JMLR 18, 2018; Li et al., "A System for Massively Parallel Hyperparameter
Tuning", MLSys 2020. The product has neither; these are here to compare with.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.search_quality.methods.base import Trials, Work
from benchmarks.search_quality.methods.stopping import FACTOR
from raysweep.cluster.search.halving import rung_levels
from raysweep.cluster.search.proposers import Proposer

__all__ = ["Hyperband", "Promoting"]


class _Pausing(ABC):
    """What both have: trials, and the best value of each.

    Args:
        proposer: where trials come from.
        max_t: T.
    """

    def __init__(self, proposer: Proposer, max_t: int) -> None:
        self._trials, self._max_t = Trials(proposer), max_t
        self._best: dict[int, float] = {}

    @abstractmethod
    def next(self) -> Work | None:
        """See `Method`."""

    @abstractmethod
    def _reached(self, trial: int, epoch: int | None) -> None:
        """A trial has reached a rung, by an epoch; or it has failed: None."""

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        """See `Method`."""
        self._trials.started(params)
        self._best[trial] = -math.inf

    def report(self, trial: int, epoch: int, value: float) -> None:
        """See `Method`."""
        self._trials.report(trial, epoch, value)
        self._best[trial] = max(self._best[trial], value)

    def arrived(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        if epoch == self._max_t:
            self._trials.finish(trial)
        self._reached(trial, epoch)

    def failed(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        self._trials.fail(trial)
        self._reached(trial, None)

    def close(self) -> None:
        """See `Method`."""
        self._trials.close()


class Promoting(_Pausing):
    """Asynchronous successive halving as published: trials pause at rungs.

    A free worker promotes a trial that is among the best third of a rung, from the highest rung
    down, or starts a trial.

    Args:
        proposer: where trials come from.
        max_t: T.
        grace: the first rung.
    """

    def __init__(self, proposer: Proposer, max_t: int, grace: int) -> None:
        super().__init__(proposer, max_t)
        self._levels = [*rung_levels(max_t, grace, FACTOR), max_t]
        self._rungs: list[dict[int, float]] = [{} for _ in self._levels]
        self._promoted: list[set[int]] = [set() for _ in self._levels]

    def next(self) -> Work | None:
        """See `Method`."""
        for k in reversed(range(len(self._levels) - 1)):
            rung = self._rungs[k]
            best = sorted(rung, key=lambda trial: -rung[trial])[: len(rung) // FACTOR]
            for trial in best:
                if trial not in self._promoted[k] and rung[trial] > -math.inf:
                    self._promoted[k].add(trial)
                    return Work(trial, self._levels[k + 1])
        return self._trials.new(self._levels[0])

    def _reached(self, trial: int, epoch: int | None) -> None:
        if epoch is not None:
            self._rungs[self._levels.index(epoch)][trial] = self._best[trial]
            return
        # It counts as the worst of the rung that it was on its way to.
        k = sum(trial in rung for rung in self._rungs)
        self._rungs[k][trial] = -math.inf


@dataclass
class _Bracket:
    """A bracket of Hyperband: the rung that runs now.

    Attributes:
        sizes: trials of each rung from this one on.
        levels: epochs of each rung from this one on.
        queue: trials that are still to be sent to the first of `levels`.
        done: values of those that reached it; -inf for one that failed.
    """

    sizes: list[int]
    levels: list[int]
    queue: list[int] = field(default_factory=list)
    done: dict[int, float] = field(default_factory=dict)
    num_new: int = 0  # trials that are still to be started


class Hyperband(_Pausing):
    """Brackets from the most exploring one to full trainings, over and over.

    A rung is complete before the next one begins; where a worker would wait for that, the next
    bracket begins.

    Args:
        proposer: where trials come from.
        max_t: T.
    """

    def __init__(self, proposer: Proposer, max_t: int) -> None:
        super().__init__(proposer, max_t)
        self._largest = int(math.log(max_t, FACTOR) + 1e-9)
        self._brackets: list[_Bracket] = []
        self._num_brackets = 0
        self._where: dict[int, _Bracket] = {}

    def _add_bracket(self) -> _Bracket:
        s = self._largest - self._num_brackets % (self._largest + 1)
        self._num_brackets += 1
        first = math.ceil((self._largest + 1) / (s + 1) * FACTOR**s)
        sizes = [first // FACTOR**k for k in range(s + 1)]
        levels = [max(1, round(self._max_t / FACTOR ** (s - k))) for k in range(s + 1)]
        self._brackets.append(_Bracket(sizes, levels, num_new=first))
        return self._brackets[-1]

    def next(self) -> Work | None:
        """See `Method`."""
        for bracket in [*self._brackets, None]:
            bracket = bracket or self._add_bracket()
            if bracket.queue:
                return Work(bracket.queue.pop(0), bracket.levels[0])
            if bracket.num_new:
                bracket.num_new -= 1
                work = self._trials.new(bracket.levels[0])
                self._where[work.trial] = bracket
                return work
        raise AssertionError("a new bracket has new trials")

    def _reached(self, trial: int, epoch: int | None) -> None:
        bracket = self._where[trial]
        bracket.done[trial] = -math.inf if epoch is None else self._best[trial]
        if len(bracket.done) < bracket.sizes[0]:
            return
        bracket.sizes, bracket.levels = bracket.sizes[1:], bracket.levels[1:]
        alive = {t: value for t, value in bracket.done.items() if value > -math.inf}
        if not bracket.levels or not alive:
            self._brackets.remove(bracket)
            return
        bracket.queue = sorted(alive, key=lambda t: -alive[t])[: bracket.sizes[0]]
        bracket.sizes[0], bracket.done = len(bracket.queue), {}
