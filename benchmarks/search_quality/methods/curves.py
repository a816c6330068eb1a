"""The product's searcher that reads learning curves: all that this benchmark knows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.search_quality.methods.base import Work
from benchmarks.search_quality.space import TaskSpace

if TYPE_CHECKING:
    from raysweep.cluster.search.curves.transfer import EarlierRun

__all__ = ["Curves"]


class Curves:
    """The product's `CurveSearch`, without its ledger.

    Args:
        space: what is searched.
        seed: of its draws.
        max_t: T.
        earlier: runs to learn from, fitted.
    """

    def __init__(
        self, space: TaskSpace, seed: int, max_t: int, earlier: Sequence[EarlierRun] = ()
    ) -> None:
        from raysweep.cluster.search.curves.encoding import Encoder
        from raysweep.cluster.search.curves.search import CurveSearch
        from raysweep.cluster.search.curves.transfer import Sources

        encoder = Encoder(space, seed)
        sources = Sources(earlier, encoder, "max") if earlier else None
        self._search = CurveSearch(encoder, seed, "max", max_t, sources=sources)
        self._num = 0
        self._theta: Any = None

    def next(self) -> Work | None:
        """What it decides."""
        decision = self._search.decide()
        if decision is None:
            return None
        if decision.trial is not None:
            self._search.resume(decision.trial, decision.theta)
            return Work(decision.trial, decision.target)
        assert decision.proposal is not None
        self._theta = decision.theta
        return Work(self._num, decision.target, decision.proposal.params)

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        """See `Method`."""
        self._search.start(trial, params, self._theta)
        self._num += 1

    def report(self, trial: int, epoch: int, value: float) -> None:
        """See `Method`."""
        self._search.report(trial, epoch, value)

    def arrived(self, trial: int, epoch: int) -> None:
        """It sees by the epoch that the trial has arrived."""

    def failed(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        self._search.report(trial, epoch, math.nan)
        self._search.end(trial)

    def close(self) -> None:
        """Nothing to do."""
