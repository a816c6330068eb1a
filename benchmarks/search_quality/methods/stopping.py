"""Full trainings, and the product's successive halving, over the product's proposers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.search_quality.methods.base import Trials, Work
from raysweep.cluster.search.halving import STOP, WAIT, SuccessiveHalving, rung_levels
from raysweep.cluster.search.proposers import Proposer

__all__ = ["FACTOR", "Stopping"]

FACTOR = 3  # the product's default


class Stopping:
    """Trials that are stopped at rungs by `SuccessiveHalving`, or never.

    Args:
        proposer: where trials come from.
        max_t: T.
        grace: the first rung; T, and trials train to their ends.
    """

    def __init__(self, proposer: Proposer, max_t: int, grace: int) -> None:
        self._trials = Trials(proposer)
        self._levels = rung_levels(max_t, grace, FACTOR)
        self._halving = SuccessiveHalving(self._levels, FACTOR, "max")
        self._max_t = max_t
        self._waiting: dict[int, int] = {}

    def next(self) -> Work | None:
        """The trial of lowest index whose decision is in, or else a new one, as the product has it.

        A trial that waits for others leaves its worker.
        """
        for trial, epoch in sorted(self._waiting.items()):
            decision = self._halving.decide(trial, epoch)
            if decision == WAIT:
                continue
            del self._waiting[trial]
            if decision != STOP:
                return Work(trial, self._after(epoch))
            self._trials.stop(trial)
            self._halving.end(trial)
        return self._trials.new(self._after(0))

    def _after(self, epoch: int) -> int:
        return next((level for level in self._levels if level > epoch), self._max_t)

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        """See `Method`."""
        self._trials.started(params)
        self._halving.begin(trial)

    def report(self, trial: int, epoch: int, value: float) -> None:
        """See `Method`."""
        self._trials.report(trial, epoch, value)
        self._halving.record(trial, epoch, value)

    def arrived(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        if epoch < self._max_t:
            self._waiting[trial] = epoch
            return
        self._trials.finish(trial)
        self._halving.end(trial)

    def failed(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        self._trials.fail(trial)
        self._halving.end(trial)

    def close(self) -> None:
        """See `Method`."""
        self._trials.close()
