"""What the simulated clock asks of a searcher, and the product's own proposers behind it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.search.proposers import Proposer
from raysweep.core.storage import Storage

__all__ = ["METRIC", "Method", "Trials", "Work"]

METRIC = "value"


@dataclass(frozen=True)
class Work:
    """What a free worker is to do next.

    Attributes:
        trial: its number; a number that is new starts a trial.
        target: the epoch to train up to, from 1.
        params: the configuration of a new trial.
    """

    trial: int
    target: int
    params: Mapping[str, Any] | None = None


class Method(Protocol):
    """A searcher. All values are to be large."""

    def next(self) -> Work | None:
        """Work for a free worker; None if there is none until something is reported."""

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        """A new trial runs with these params, which may be those of the nearest row of a table."""

    def report(self, trial: int, epoch: int, value: float) -> None:
        """A trial's value after an epoch; never one that is not finite."""

    def arrived(self, trial: int, epoch: int) -> None:
        """A trial has trained up to the target."""

    def failed(self, trial: int, epoch: int) -> None:
        """A trial's value after an epoch is not finite: it is over."""

    def close(self) -> None:
        """The search is over."""


class Trials:
    """Trials of one of the product's proposers, in a ledger of the product's.

    Args:
        proposer: random or TPE.
    """

    def __init__(self, proposer: Proposer) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rsq-")
        self._ledger = Ledger(Storage(self._folder.name), METRIC, "max")
        self._proposer = proposer

    def new(self, target: int) -> Work:
        """A trial with a configuration that is new."""
        ledger, attempt = self._ledger, 0
        self._proposer.tell(ledger)
        while True:
            point = self._proposer.propose(len(ledger), attempt)
            assert point is not None, "neither random nor TPE comes to an end"
            if not ledger.has(point[1]):
                return Work(len(ledger), target, point[1])
            attempt += 1

    def started(self, params: Mapping[str, Any]) -> None:
        """Notes the trial that runs now."""
        self._ledger.add(params, params)
        self._proposer.tell(self._ledger)

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Notes an epoch."""
        self._ledger.result(trial, {"epoch": epoch, METRIC: value})

    def finish(self, trial: int) -> None:
        """A trial has trained for as long as it could."""
        self._ledger.end(trial, FINISHED)

    def stop(self, trial: int) -> None:
        """A trial does not go on."""
        self._ledger.end(trial, STOPPED)

    def fail(self, trial: int) -> None:
        """A trial broke."""
        self._ledger.end(trial, FAILED)

    def close(self) -> None:
        """Removes the ledger."""
        self._folder.cleanup()
