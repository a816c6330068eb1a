"""A search that pauses trials, under Ray Tune.

To Ray, whatever a trial trains without a pause is a trial of its own, which starts from the state
that is on disk. So Ray never pauses anything, and a trial goes on in whichever process is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from raysweep.cluster.runs.ledger import TrialRecord
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.cluster.search.schedulers import InOrder
from raysweep.core.ray_private import keep_processes
from raysweep.trainables.trial_files import INDEX

__all__ = ["CurveScheduler", "CurveSearcher"]


class CurveSearcher(Searcher):
    """Hands Ray Tune what the plan decides.

    Args:
        plan: decides.

    Attributes:
        ledger: of the run.
        limit: trials that may be pending or running at a time.
        active: trials that are; the run's callback counts them at every step.
        pack_size: always 1.
    """

    limit: int = 1
    active: int = 0
    pack_size: int = 1
    pauses = True

    def __init__(self, plan: CurvePlan) -> None:
        super().__init__(metric=plan.ledger.metric, mode=plan.ledger.mode)
        self.plan, self.ledger = plan, plan.ledger
        self._ready = plan.under_way()

    def remaining(self) -> int:
        """Trials that are under way, and one more if the budget is not used up."""
        return len(self.plan.under_way()) + (not self.plan.over())

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's configuration with its index, FINISHED, or None for later."""
        if self.active >= self.limit:
            return None
        record = self._ready.pop(0) if self._ready else self.plan.next()
        if record is None:
            return None if self.plan.under_way() else str(Searcher.FINISHED)
        self.active += 1
        return {**record.config, INDEX: record.index}

    def goes_on(self, index: int) -> bool:
        """Whether a trial trains the next epoch in the process where it is.

        Where its place is free, the plan decides what comes there; if it is another trial, that one
        is suggested next.
        """
        record = self.ledger.trials[index]
        if not record.paused:
            return True
        if self._ready or (chosen := self.plan.next()) is None:
            return False
        if chosen is record:
            return True
        self._ready.append(chosen)
        return False

    def again(self, record: TrialRecord) -> None:
        """Has a trial suggested once more, because Ray has given it up."""
        self._ready.append(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: endings reach the ledger through the run's callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the state."""


class CurveScheduler(InOrder):
    """Ends Ray's trial where the plan pauses ours.

    Args:
        searcher: asks the plan.
        note: writes a result of a trial of Ray's into the ledger, before anything is decided by it.
    """

    def __init__(
        self, searcher: CurveSearcher, note: Callable[[Any, dict[str, Any]], None]
    ) -> None:
        super().__init__()
        self._searcher, self._note = searcher, note

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Continues or ends it."""
        keep_processes(tune_controller, trial, self._searcher.limit)
        self._note(trial, result)
        goes_on = self._searcher.goes_on(int(trial.config[INDEX]))
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)
