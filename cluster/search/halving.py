"""Successive halving in trial order: decisions that depend on the results alone. No Ray here.

`schedulers.OrderedASHA` puts them under Ray Tune.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from raysweep.analysis.pareto.front import crowding_distances, non_domination_ranks
from raysweep.trainables.learner import is_better

__all__ = ["CONTINUE", "STOP", "WAIT", "ParetoHalving", "SuccessiveHalving", "rung_levels"]

CONTINUE, STOP, WAIT = "continue", "stop", "wait"


def rung_levels(max_t: int, grace_period: int, reduction_factor: float) -> list[int]:
    """The epochs at which trials are compared: grace_period · reduction_factor^k, below max_t."""
    levels, level = set(), float(grace_period)
    while round(level) < max_t:
        levels.add(round(level))
        level *= reduction_factor
    return sorted(levels)


class SuccessiveHalving:
    """The decisions of asynchronous successive halving with arrivals in order of index.

    At each rung a trial goes on if it is as good as the best 1/reduction_factor of the trials of
    lower index that reached the rung, or if those are too few to say. Judged is the best value so
    far.
    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.

    Args:
        levels: the rungs, in epochs.
        reduction_factor: one in how many goes on.
        mode: "min" or "max".
    """

    def __init__(self, levels: list[int], reduction_factor: float, mode: str) -> None:
        self.levels, self.mode = levels, mode
        self._factor = reduction_factor
        self._best: dict[int, Any] = {}
        self._rungs: list[dict[int, Any]] = [{} for _ in levels]
        self._fronts = [0] * len(levels)
        self._ended: set[int] = set()

    def record(self, index: int, epoch: int, value: Any) -> None:
        """Notes a trial's value after an epoch; an epoch noted before changes nothing.

        Args:
            index: the trial's.
            epoch: from 1.
            value: a number.
        """
        if self._is_better(value, self._best.get(index)):
            self._best[index] = value
        if epoch in self.levels:
            self._rungs[self.levels.index(epoch)].setdefault(index, self._best[index])

    def begin(self, index: int) -> None:
        """Notes that a trial runs, perhaps again."""
        self._ended.discard(index)

    def end(self, index: int) -> None:
        """Notes that a trial will reach no further rung."""
        self._ended.add(index)

    def decide(self, index: int, epoch: int) -> str:
        """Continue, stop, or wait for trials of lower index to arrive at this rung."""
        if epoch not in self.levels or index + 1 < self._factor:
            return CONTINUE
        rung = self.levels.index(epoch)
        values, front = self._rungs[rung], self._fronts[rung]
        while front < index and (front in values or front in self._ended):
            front += 1
        self._fronts[rung] = front
        if front < index:
            return WAIT
        earlier = [value for other, value in values.items() if other < index]
        if len(earlier) + 1 < self._factor:
            return CONTINUE  # Too few to tell the best 1/reduction_factor of.
        return CONTINUE if self._goes_on(values[index], earlier) else STOP

    def _is_better(self, value: Any, than: Any) -> bool:
        return is_better(value, than, self.mode)

    def _goes_on(self, value: Any, earlier: list[Any]) -> bool:
        share = 1.0 / self._factor if self.mode == "min" else 1.0 - 1.0 / self._factor
        return not is_better(float(np.quantile(earlier, share)), value, self.mode)


class ParetoHalving(SuccessiveHalving):
    """The same with several objectives: values are tuples of losses, all to be small.

    The first loss says which epoch of a trial is its best. At a rung, a trial and those of lower
    index there stand in order of their non-domination rank; within a rank, those with the larger
    crowding distance come first (Deb et al. 2002, see `analysis.pareto.front`). It goes on if it is
    among the first 1/reduction_factor of them. Schmucker et al., "Multi-objective Asynchronous
    Successive Halving", arXiv 2106.12639, 2021, compare this order with others.

    Args:
        levels: the rungs, in epochs.
        reduction_factor: one in how many goes on.
    """

    def __init__(self, levels: list[int], reduction_factor: float) -> None:
        super().__init__(levels, reduction_factor, "min")

    def _is_better(self, value: Any, than: Any) -> bool:
        return than is None or bool(value[0] < than[0])

    def _goes_on(self, value: Any, earlier: list[Any]) -> bool:
        losses = np.array([*earlier, value])  # [number of trials, number of objectives]
        ranks = non_domination_ranks(losses)
        distances = crowding_distances(losses, ranks)
        before = (ranks < ranks[-1]) | ((ranks == ranks[-1]) & (distances > distances[-1]))
        return bool(before.sum() < max(1.0, len(losses) / self._factor))
