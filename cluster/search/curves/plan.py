"""A search that pauses trials, on the ledger: what it decides is written down before it is done.

Whatever a decision took into account stands in the ledger above it. So a search that was killed
reads what it had decided, and goes on from what it knew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, Ledger, TrialRecord
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.search import CurveSearch, Decision
from raysweep.cluster.search.curves.transfer import EarlierRun, Sources
from raysweep.cluster.search.proposers import Point
from raysweep.search_spaces import Suggest

__all__ = ["CurvePlan"]


class CurvePlan:
    """Says which trial gets the next place on the machine, and how far it is to train.

    Args:
        ledger: the run's memory; decisions that it holds are not taken anew.
        suggest: the space.
        seed: of all draws.
        max_t: epochs of a whole training.
        complete: turns configuration fields into a full configuration.
        budget: epochs of all trials together, as whole trainings; the search ends with them.
        num_samples: trials that may be started; None for as many as the budget holds.
        first: points that are tried before the search decides; the default configuration may be
            the first. One without params, because the space cannot express it, is trained whole.
        refuses: whether configuration fields break a constraint.
        earlier: runs whose curves the search learns from, with their `theta`.
    """

    def __init__(
        self,
        ledger: Ledger,
        suggest: Suggest,
        seed: int,
        max_t: int,
        complete: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        budget: float,
        num_samples: int | None = None,
        first: Sequence[Point] = (),
        refuses: Callable[[dict[str, Any]], bool] | None = None,
        earlier: Sequence[EarlierRun] = (),
    ) -> None:
        self.ledger = ledger
        self._complete, self._refuses = complete, refuses
        self._max_t, self._epochs = max_t, budget * max_t
        self._num_samples, self._first = num_samples, list(first)
        encoder = Encoder(suggest, seed)
        sources = Sources(earlier, encoder, ledger.mode) if earlier else None
        self._search = CurveSearch(
            encoder, seed, ledger.mode, max_t, allowed=self._allowed, sources=sources
        )
        self._exhausted = False
        self._told: dict[int, int] = {}  # epochs of each trial that the search knows
        for trial in ledger:
            self._replay(trial)
        numbers = [(d["number"], d) for trial in ledger for d in trial.decisions]
        self._search.restore(len(numbers), [d for _, d in sorted(numbers, key=lambda n: n[0])])

    def under_way(self) -> list[TrialRecord]:
        """Trials that have not reached what they were last sent to, or not said that they ended."""
        return [t for t in self.ledger if t.status == RUNNING and not self._waits(t)]

    def spent(self) -> bool:
        """Whether the budget is used up, counting what is under way as done."""
        ahead = sum((t.target or 0) - t.epoch for t in self.under_way())
        return sum(t.epoch for t in self.ledger) + ahead >= self._epochs

    def over(self) -> bool:
        """Whether nothing new will be decided: the budget is used up, or so is the space."""
        return self.spent() or self._exhausted

    def next(self) -> TrialRecord | None:
        """Decides what a free place is to do, and writes the decision down.

        Returns:
            the trial that is to train until `target`; None where the search is over, or where
            there is nothing to do before another result arrives.
        """
        for trial in self.ledger:
            self._tell(trial)
        if self.spent():
            return None
        if len(self.ledger) < len(self._first):
            return self._start(*self._first[len(self.ledger)])
        more = self._num_samples is None or len(self.ledger) < self._num_samples
        decision = self._search.decide(may_start=more)
        if decision is None:
            self._exhausted = not self.under_way()
            return None
        if decision.trial is not None:
            self.ledger.resume(decision.trial, _as_record(decision))
            self._search.resume(decision.trial, decision.theta)
            return self.ledger.trials[decision.trial]
        assert decision.proposal is not None
        proposal = decision.proposal
        record = self.ledger.add(
            proposal.params, self._complete(proposal.fields), _as_record(decision)
        )
        self._search.start(record.index, proposal.params, decision.theta)
        return record

    def paused(self) -> list[TrialRecord]:
        """Trials that could go on, and do not."""
        return [t for t in self.ledger if self._waits(t)]

    def _waits(self, trial: TrialRecord) -> bool:
        return trial.paused and trial.epoch < self._max_t

    def _start(self, params: dict[str, Any], fields: dict[str, Any]) -> TrialRecord:
        """Starts a trial that was not this search's idea."""
        config = self._complete(fields)
        known = bool(params)
        target = self._search.levels[0] if known and len(self.ledger) else self._max_t
        decision = Decision(self._search.number, target, why="given")
        record = self.ledger.add(params, config, _as_record(decision))
        self._search.start(record.index, params if known else None, target=target)
        return record

    def _allowed(self, fields: Mapping[str, Any]) -> bool:
        if self._refuses is not None and self._refuses(dict(fields)):
            return False
        return not self.ledger.has(self._complete(dict(fields)))

    def _replay(self, trial: TrialRecord) -> None:
        """Tells the search of a trial that the ledger knows: decisions and results in turn."""
        for k, decision in enumerate(trial.decisions):
            if k == 0:
                self._search.start(trial.index, trial.params or None, target=decision["target"])
            else:
                self._tell(trial, until=trial.decisions[k - 1]["target"])
                self._search.resume(trial.index)
        self._tell(trial)

    def _tell(self, trial: TrialRecord, until: int | None = None) -> None:
        told = self._told.get(trial.index, 0)
        metric = self.ledger.metric
        for result in trial.history[told:]:
            if until is not None and int(result["epoch"]) > until:
                break
            value = float(result.get(metric, "nan"))
            self._search.report(trial.index, int(result["epoch"]), value)
            told += 1
        self._told[trial.index] = told
        over = trial.status in (FINISHED, FAILED) or (trial.status == STOPPED and trial.error)
        if over and until is None:
            self._search.end(trial.index)


def _as_record(decision: Decision) -> dict[str, Any]:
    """A decision as the ledger keeps it."""
    record: dict[str, Any] = {
        "number": decision.number,
        "target": decision.target,
        "why": decision.why,
    }
    if decision.theta is not None:
        record |= {"theta": list(decision.theta), "rows": decision.rows}
    if decision.trust:
        record["trust"] = list(decision.trust)
    return record
