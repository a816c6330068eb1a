"""A search that pauses trials, on the ledger: what it decides is written down before it is done.

Whatever a decision took into account stands in the ledger above it. So a search that was killed
reads what it had decided, and goes on from what it knew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, Ledger, TrialRecord
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.places import Places
from raysweep.cluster.search.curves.search import CurveSearch, Decision
from raysweep.cluster.search.curves.transfer import EarlierRun, Sources
from raysweep.cluster.search.proposers import Point
from raysweep.core.errors import UserError
from raysweep.search_spaces import Suggest

__all__ = ["CurvePlan"]

_NEW_RESULTS = 0.05  # of those known, until it is worth asking again what going on would bring


class CurvePlan:
    """Says which trial gets the next place on the machine, and how far it is to train.

    Args:
        ledger: the run's memory; decisions that it holds are not taken anew.
        suggest: the space.
        seed: of all draws.
        max_t: epochs of a whole training.
        complete: turns configuration fields into a full configuration.
        budget: epochs of all trials together, as whole trainings; the search ends with them.
        until: the search ends when the next tenth of the budget is expected to make the best value
            better by less than this; None for never.
        num_samples: trials that may be started; None for as many as the budget holds.
        first: points that are tried before the search decides; the default configuration may be
            the first. One without params, because the space cannot express it, is trained whole.
        refuses: whether configuration fields break a constraint.
        deterministic: decides as if a fixed number of trials trained at a time; see `Places`.
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
        until: float | None = None,
        num_samples: int | None = None,
        first: Sequence[Point] = (),
        refuses: Callable[[dict[str, Any]], bool] | None = None,
        deterministic: bool = False,
        earlier: Sequence[EarlierRun] = (),
    ) -> None:
        self.ledger = ledger
        self._places = Places(self._tell) if deterministic else None
        self._complete, self._refuses = complete, refuses
        self._max_t, self._epochs, self._until = max_t, budget * max_t, until
        self._num_samples, self._first = num_samples, list(first)
        encoder = Encoder(suggest, seed)
        sources = Sources(earlier, encoder, ledger.mode) if earlier else None
        self._search = CurveSearch(
            encoder, seed, ledger.mode, max_t, allowed=self._allowed, sources=sources
        )
        self._exhausted = False
        self._told: dict[int, int] = {}  # epochs of each trial that the search knows
        decisions = [(d, trial) for trial in ledger for d in trial.decisions]
        decisions.sort(key=lambda each: each[0]["number"])
        if self._places is not None:
            for decision, trial in decisions:
                self._retake(self._places, decision, trial)
        else:
            for trial in ledger:
                self._replay(trial)
        self._search.restore(len(decisions), [decision for decision, _ in decisions])

    def under_way(self) -> list[TrialRecord]:
        """Trials that have not reached what they were last sent to, or not said that they ended."""
        return [t for t in self.ledger if t.status == RUNNING and not self._waits(t)]

    def spent(self) -> bool:
        """Whether the budget is used up, counting what is under way as done."""
        ahead = sum((t.target or 0) - t.epoch for t in self.under_way())
        return sum(t.epoch for t in self.ledger) + ahead >= self._epochs

    def over(self) -> bool:
        """Whether nothing new will be decided.

        The budget is used up, or so is the space, or too little is expected of going on.
        """
        return self.spent() or self._exhausted or self._content()

    def _content(self) -> bool:
        """Whether what was last expected of the next tenth of this budget is too little."""
        last = self.ledger.outlook
        if self._until is None or last is None or last["epochs"] != self._tenth:
            return False
        return bool(last["gain"] < self._until)

    @property
    def _tenth(self) -> float:
        return self._epochs / 10

    def look(self, *, at_end: bool = False) -> None:
        """Writes down what is expected of the next tenth of the budget, if enough is new.

        Args:
            at_end: whether any new result is enough.
        """
        rows, last = self._search.num_results(), self.ledger.outlook
        if last is not None and last["epochs"] == self._tenth:
            ended = at_end and self._content()  # why it ended is not written over
            if ended or rows < last["rows"] + (
                1 if at_end else max(1, _NEW_RESULTS * last["rows"])
            ):
                return
        more = self._num_samples is None or len(self.ledger) < self._num_samples
        gain = self._search.ask(lambda known: known.gain(self._tenth, may_start=more))
        if gain is None:
            return
        outlook = {"gain": float(f"{gain:.4g}"), "epochs": self._tenth, "rows": rows}
        if self._until is not None and outlook["gain"] < self._until:
            outlook["until"] = self._until
        self.ledger.expect(outlook)

    def settle(self) -> None:
        """Ends the trials of a search that is over, where it was killed before it could do so."""
        waiting = self.paused()
        for trial in waiting:
            self.ledger.end(trial.index, STOPPED)
        if waiting or self.ledger.outlook is None:
            self.look(at_end=True)
        last = self.ledger.outlook
        if last is not None and self._content() and not self.spent() and "until" not in last:
            self.ledger.expect({**last, "until": self._until})

    def finals(self) -> dict[int, tuple[float, float, float]]:
        """Where the trials that were paused would end if each were trained whole.

        Returns:
            by their indexes, the best value expected and the ends of a 95% interval; see
            `Outlook.finals`.
        """
        waiting = [
            t.index
            for t in self.ledger
            if 0 < t.epoch < self._max_t and not t.error and t.status in (RUNNING, STOPPED)
        ]
        return self._search.ask(lambda known: known.finals(waiting)) or {}

    def next(self) -> TrialRecord | None:
        """Decides what a free place is to do, and writes the decision down.

        Returns:
            the trial that is to train until `target`; None where the search is over, or where
            there is nothing to do before another result arrives.
        """
        if self._places is None:
            for trial in self.ledger:
                self._tell(trial)
            return self._decide()
        while True:
            if self._places.free and (record := self._decide()) is not None:
                assert record.target is not None
                self._places.take(record, self._search.epoch(record.index), record.target)
                return record
            if self._places.empty or not self._places.tick():
                return None

    def _decide(self) -> TrialRecord | None:
        if self._search.num_epochs() >= self._epochs:
            return None
        if len(self.ledger) < len(self._first):
            return self._start(*self._first[len(self.ledger)])
        self.look()
        if self._content():
            return None
        more = self._num_samples is None or len(self.ledger) < self._num_samples
        decision = self._search.decide(may_start=more)
        if decision is None:
            self._exhausted = self._places.empty if self._places else not self.under_way()
            return None
        if (index := decision.trial) is not None:
            reasons = self._search.ask(lambda known: known.reasons(index)) or {}
            self.ledger.resume(index, self._as_record(decision) | reasons)
            self._search.resume(index, decision.theta)
            return self.ledger.trials[index]
        assert decision.proposal is not None
        proposal = decision.proposal
        record = self.ledger.add(
            proposal.params, self._complete(proposal.fields), self._as_record(decision)
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
        why = "given" if fields or len(self.ledger) else "default"
        decision = Decision(self._search.number, target, why=why)
        record = self.ledger.add(params, config, self._as_record(decision))
        self._search.start(record.index, params if known else None, target=target)
        return record

    def _allowed(self, fields: Mapping[str, Any]) -> bool:
        if self._refuses is not None and self._refuses(dict(fields)):
            return False
        return not self.ledger.has(self._complete(dict(fields)))

    def _retake(self, places: Places, decision: Mapping[str, Any], trial: TrialRecord) -> None:
        """Takes a decision that the ledger knows, when it was taken."""
        while places.now < decision["tick"]:
            if not places.tick():
                raise UserError(
                    f"ledger.jsonl: decision {decision['number']} stands above results that it was "
                    "taken from; lines of it are missing"
                )
        if decision is trial.decisions[0]:
            self._search.start(trial.index, trial.params or None, target=decision["target"])
        else:
            self._search.resume(trial.index)
        places.take(trial, self._search.epoch(trial.index), decision["target"])

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
        if over and (until is None or trial.epoch < until):
            self._search.end(trial.index)

    def _as_record(self, decision: Decision) -> dict[str, Any]:
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
        if self._places is not None:
            record["tick"] = self._places.now
        return record
