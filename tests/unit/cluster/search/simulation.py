"""Planted learning curves, and workers that train them in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raysweep.cluster.search.halving import STOP, WAIT, SuccessiveHalving, rung_levels

MAX_T = 9
Curves = list[list[float]]


def curves(num: int, seed: int, digits: int = 6) -> Curves:
    """Falling validation errors with noise; a curve may end early, which is a failure there."""
    rng = np.random.default_rng(seed)
    table = []
    for _ in range(num):
        level, fall = rng.uniform(0.5, 2.0), rng.uniform(0.1, 1.0)
        length = MAX_T if rng.random() < 0.9 else int(rng.integers(0, MAX_T))
        steps = np.arange(1, length + 1)
        values = level + fall / steps + rng.normal(size=length) * 0.1
        table.append([round(float(v), digits) for v in values])
    return table


def reference(table: Curves, levels: list[int], factor: float, mode: str) -> dict[int, int]:
    """The last epoch of each trial if trials run one after the other."""
    sign = 1.0 if mode == "min" else -1.0
    reached: dict[int, list[float]] = {level: [] for level in levels}
    last = {}
    for index, values in enumerate(table):
        last[index] = len(values)
        for level in levels:
            if len(values) < level:
                break
            mine = min(sign * v for v in values[:level])
            earlier = list(reached[level])
            reached[level].append(mine)
            if len(earlier) + 1 >= factor and mine > np.quantile(earlier, 1 / factor):
                last[index] = level
                break
    return last


@dataclass
class Simulator:
    """W workers on N trials: who is next is up to chance; who must wait gives up its worker."""

    table: Curves
    halving: SuccessiveHalving
    workers: int
    rng: np.random.Generator
    epoch: dict[int, int] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = list(range(len(self.table)))

    def run(self, max_events: int | None = None) -> dict[int, int]:
        while max_events is None or max_events > 0:
            self.fill()
            if not self.running:
                assert not self.waiting, f"deadlock: {self.waiting} wait and nothing runs"
                assert not self.queue
                break
            self.advance(self.pick(self.running))
            max_events = None if max_events is None else max_events - 1
        return self.ended

    def pick(self, among: list[int]) -> int:
        return among[int(self.rng.integers(len(among)))]

    def fill(self) -> None:
        while len(self.running) < self.workers:
            ready = [i for i in self.waiting if self.decision(i) != WAIT]
            if ready:
                index = self.pick(ready)
                self.waiting.remove(index)
                self.settle(index, self.decision(index))
            elif self.queue:
                index = self.queue.pop(0)
                self.epoch.setdefault(index, 0)
                self.running.append(index)
            else:
                return

    def decision(self, index: int) -> str:
        return self.halving.decide(index, self.epoch[index])

    def settle(self, index: int, decision: str) -> None:
        if decision == STOP:
            self.end(index)
        elif decision == WAIT:
            self.waiting.append(index)
        else:
            self.running.append(index)

    def end(self, index: int) -> None:
        self.halving.end(index)
        self.ended[index] = self.epoch[index]

    def advance(self, index: int) -> None:
        self.running.remove(index)
        values = self.table[index]
        if self.epoch[index] >= len(values):
            self.end(index)
            return
        self.epoch[index] += 1
        self.halving.record(index, self.epoch[index], values[self.epoch[index] - 1])
        if self.epoch[index] == MAX_T:
            self.end(index)
        else:
            self.settle(index, self.decision(index))


def halving(factor: float = 3.0, mode: str = "min") -> SuccessiveHalving:
    return SuccessiveHalving(rung_levels(MAX_T, 1, factor), factor, mode)
