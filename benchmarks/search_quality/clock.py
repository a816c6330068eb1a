"""Searches on a simulated clock: workers take epochs, and the regret after each one is noted."""

from __future__ import annotations

import heapq
import math
import time
import zlib
from dataclasses import dataclass

import numpy as np

from benchmarks.search_quality.methods.base import Method, Work
from benchmarks.search_quality.tasks import Curve, Task

__all__ = ["Outcome", "seed_of", "simulate"]


@dataclass(frozen=True)
class Outcome:
    """What a search did.

    Attributes:
        regret: after each epoch of all workers together, [number of epochs].
        num_started: trials.
        num_resumed: how often a trial went on after it had left a worker.
        slowest_s: real seconds that the slowest answer of the searcher took.
        decisions_s: real seconds of all of its answers.
    """

    regret: np.ndarray
    num_started: int
    num_resumed: int
    slowest_s: float
    decisions_s: float


@dataclass
class _Training:
    """A trial: its curve, the noise on it, and how far it is."""

    curve: Curve
    noise: np.ndarray
    epoch: int = 0
    target: int = 0


def seed_of(task: str, seed: int) -> int:
    """The seed of a search: another one for every task, so that a lucky start counts once."""
    return zlib.crc32(f"{task}/{seed}".encode())


def simulate(
    task: Task,
    method: Method,
    *,
    num_epochs: int,
    workers: int = 1,
    noise: float = 0.0,
    seed: int = 0,
    recorded_seconds: bool = False,
) -> Outcome:
    """Runs a search until so many epochs were trained.

    What ends at the same moment is reported in the order of workers, before free workers ask. A
    trial whose value is not finite ends there.

    Args:
        task: what to search for.
        method: the searcher.
        num_epochs: of all trials together.
        workers: trials that train at a time.
        noise: standard deviation of what is added to each value that the searcher gets, by the
            task's range. The regret is that of the true value where the best noisy one was seen.
        seed: of the noise.
        recorded_seconds: epochs take the seconds that were recorded, not one unit each.
    """
    clock = _Clock(task, method, noise, seed, recorded_seconds)
    idle = list(range(workers))
    while len(clock.regret) < num_epochs:
        while idle and clock.hand_out(idle[0]):
            idle.pop(0)
        if not clock.ends:
            break  # The searcher has no more to do.
        idle = sorted([*idle, *clock.advance(num_epochs)])
    regret = np.array(clock.regret)
    last = regret[-1] if len(regret) else 1.0
    regret = np.append(regret, np.full(num_epochs - len(regret), last))
    resumed = clock.num_works - len(clock.trainings)
    return Outcome(regret, len(clock.trainings), resumed, clock.slowest_s, clock.decisions_s)


class _Clock:
    """The state of a search under way.

    Attributes:
        ends: (moment, worker, trial) of each epoch that is being trained; a heap.
        regret: so far.
    """

    def __init__(
        self, task: Task, method: Method, noise: float, seed: int, recorded_seconds: bool
    ) -> None:
        self._task, self._method, self._train = task, method, task.trainer()
        self._noise, self._seed, self._recorded = noise, seed, recorded_seconds
        self._now, self._best, self._true = 0.0, -math.inf, -math.inf
        self.ends: list[tuple[float, int, int]] = []
        self.trainings: dict[int, _Training] = {}
        self.regret: list[float] = []
        self.num_works = 0
        self.slowest_s = self.decisions_s = 0.0

    def hand_out(self, worker: int) -> bool:
        """Asks for a worker's next work; False if there is none."""
        start = time.perf_counter()
        work = self._method.next()
        seconds = time.perf_counter() - start
        self.slowest_s, self.decisions_s = max(self.slowest_s, seconds), self.decisions_s + seconds
        if work is None:
            return False
        if work.trial not in self.trainings:
            self._start(work)
        training = self.trainings[work.trial]
        if not training.epoch < work.target <= self._task.max_t:
            raise ValueError(f"{work} after epoch {training.epoch}")
        if any(trial == work.trial for _, _, trial in self.ends):
            raise ValueError(f"{work} while the trial is running")
        training.target = work.target
        self.num_works += 1
        self._begin_epoch(worker, work.trial)
        return True

    def _start(self, work: Work) -> None:
        assert work.params is not None, f"{work} is new and has no params"
        curve = self._train(work.params)
        rng = np.random.default_rng([self._seed, work.trial])
        scale = self._noise * (self._task.high - self._task.low)
        self.trainings[work.trial] = _Training(curve, scale * rng.normal(size=self._task.max_t))
        self._method.started(work.trial, curve.params)

    def _begin_epoch(self, worker: int, trial: int) -> None:
        training = self.trainings[trial]
        length = float(training.curve.seconds[training.epoch]) if self._recorded else 1.0
        heapq.heappush(self.ends, (self._now + length, worker, trial))

    def advance(self, num_epochs: int) -> list[int]:
        """Goes to the next moment at which epochs end; returns the workers that are free then."""
        self._now = self.ends[0][0]
        free, going_on = [], []
        while self.ends and self.ends[0][0] == self._now and len(self.regret) < num_epochs:
            _, worker, trial = heapq.heappop(self.ends)
            if self._end_epoch(trial):
                going_on.append((worker, trial))
            else:
                free.append(worker)
        for worker, trial in going_on:
            self._begin_epoch(worker, trial)
        return free

    def _end_epoch(self, trial: int) -> bool:
        """Reports an epoch; whether the trial trains on."""
        training = self.trainings[trial]
        true = float(training.curve.values[training.epoch])
        value = true + float(training.noise[training.epoch])
        training.epoch += 1
        if math.isfinite(true) and value > self._best:
            self._best, self._true = value, true
        self.regret.append(self._task.regret(self._true))
        if not math.isfinite(true):
            self._method.failed(trial, training.epoch)
            return False
        self._method.report(trial, training.epoch, value)
        if training.epoch < training.target:
            return True
        self._method.arrived(trial, training.epoch)
        return False
