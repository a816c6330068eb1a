"""A search that decides as if a fixed number of trials trained at the same time.

What is decided next depends on which results have arrived, and that on how fast machines are. Here
decisions follow a clock on which every epoch takes one tick and a fixed number of trials train side
by side. Whoever asks waits until everything is known that this clock has seen by then, and gets to
know nothing else: so the table is the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raysweep.cluster.runs.ledger import RUNNING, TrialRecord

__all__ = ["NUM_PLACES", "Places"]

NUM_PLACES = 4


@dataclass(frozen=True)
class _Stage:
    """What occupies a place: a trial on its way from an epoch to the next pause."""

    trial: TrialRecord
    start: int
    epoch: int
    target: int


class Places:
    """The trials that train at the same time, by a clock that counts epochs.

    Args:
        tell: hands a trial's results up to an epoch to the search.
        number: of places.

    Attributes:
        now: ticks since the search began.
    """

    def __init__(self, tell: Callable[[TrialRecord, int], None], number: int = NUM_PLACES) -> None:
        self.now = 0
        self._tell, self._number = tell, number
        self._stages: list[_Stage] = []

    @property
    def free(self) -> bool:
        """Whether another trial can be sent to train."""
        return len(self._stages) < self._number

    @property
    def empty(self) -> bool:
        """Whether no trial trains."""
        return not self._stages

    def take(self, trial: TrialRecord, epoch: int, target: int) -> None:
        """A trial begins to train, after this epoch and until the target."""
        self._stages.append(_Stage(trial, self.now, epoch, target))

    def tick(self) -> bool:
        """Lets an epoch pass on every place; False, and nothing, until all results are there."""
        epochs = [stage.epoch + self.now + 1 - stage.start for stage in self._stages]
        for stage, epoch in zip(self._stages, epochs, strict=True):
            if stage.trial.epoch < epoch and stage.trial.status == RUNNING:
                return False
        self.now += 1
        left = []
        for stage, epoch in zip(self._stages, epochs, strict=True):
            self._tell(stage.trial, epoch)
            ended = stage.trial.status != RUNNING and stage.trial.epoch <= epoch
            if epoch < stage.target and not ended:
                left.append(stage)
        self._stages = left
        return True
