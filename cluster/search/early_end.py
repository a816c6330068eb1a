"""What ends a search early because it is content: `--target` and `--patience`."""

from __future__ import annotations

from raysweep.cluster.runs.ledger import RUNNING, Ledger, TrialRecord
from raysweep.trainables.learner import is_better

__all__ = ["EarlyEnd"]


class EarlyEnd:
    """Says when a search has what it was started for, or is not getting any better.

    Args:
        ledger: of the run; what it holds already counts.
        target: a value of the metric that is good enough; None for no such value.
        patience: how many trials in a row, by index, may end without a better value; None for any.
    """

    def __init__(
        self, ledger: Ledger, target: float | None = None, patience: int | None = None
    ) -> None:
        self._ledger, self._target, self._patience = ledger, target, patience
        self._best: float | None = None
        self._leader = -1
        self._ended: set[int] = set()
        self._in_vain = 0  # those of them after the leader
        for trial in ledger if target is not None or patience is not None else ():
            self.update(trial)

    def update(self, trial: TrialRecord) -> None:
        """Takes a trial's results into account, and whether it has ended."""
        ledger = self._ledger
        if self._target is None and self._patience is None:
            return
        best = trial.best(ledger.metric, ledger.mode) if ledger.feasible(trial) else None
        if best is not None and is_better(best[ledger.metric], self._best, ledger.mode):
            self._best = best[ledger.metric]
            if trial.index != self._leader:
                self._leader = trial.index
                self._in_vain = sum(index > trial.index for index in self._ended)
        if trial.status != RUNNING and trial.index not in self._ended:
            self._ended.add(trial.index)
            self._in_vain += trial.index > self._leader

    def reached(self) -> str:
        """Why the search may end now; empty while it may not."""
        best, target, mode = self._best, self._target, self._ledger.mode
        if best is None:
            return ""
        if target is not None and (best <= target if mode == "min" else best >= target):
            return f"trial {self._leader} reached the target of {target:g} with {best:.4g}"
        if self._patience is not None and self._in_vain >= self._patience:
            return f"{self._in_vain} trials since trial {self._leader} brought nothing better"
        return ""
