"""What Ray Tune asks for its next trial: the ledger's unfinished ones, then a proposer's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from raysweep.cluster.runs.ledger import Ledger, TrialRecord, config_key
from raysweep.cluster.search.proposers import ATTEMPTS, ListProposer, Proposer
from raysweep.trainables.trial_files import INDEX, pack_config

__all__ = ["LedgerSearcher"]

_REFUSALS = 1000


class LedgerSearcher(Searcher):
    """Hands Ray Tune first the ledger's unfinished trials, then new ones up to `num_samples`.

    Args:
        ledger: the run's memory; every suggestion is written to it before Ray sees it.
        proposer: where new points come from.
        complete: turns configuration fields into a full configuration.
        num_samples: trials in the whole run; None for as many as the proposer has.
        refuses: whether configuration fields break a constraint; such a proposal is passed over,
            and another one asked for. Its text names the constraint.
        default_first: whether the first trial has the default configuration.

    Attributes:
        limit: trials (or packs of them) that may be pending or running at a time.
        active: trials that are; the run's callback counts them at every step.
        pack_size: trials that may train as one model; with 1 none do.
        pack_key: of a configuration; those with an equal one may train as one model.
        pauses: whether a trial that Ray ends may go on later; no.
    """

    limit: int = 1
    active: int = 0
    pack_size: int = 1
    pauses = False
    pack_key: Callable[[dict[str, Any]], str]

    def __init__(
        self,
        ledger: Ledger,
        proposer: Proposer,
        complete: Callable[[dict[str, Any]], dict[str, Any]],
        num_samples: int | None,
        *,
        refuses: Callable[[dict[str, Any]], bool] | None = None,
        default_first: bool = True,
    ) -> None:
        super().__init__(metric=ledger.metric, mode=ledger.mode)
        self._default_first = default_first
        self.ledger, self._proposer, self._complete = ledger, proposer, complete
        self._num_samples = self._total(num_samples)
        self._ready = ledger.unfinished()
        self._refuses = refuses

    def _total(self, num_samples: int | None) -> int | None:
        points = self._proposer.points()
        if points is None:
            return num_samples
        first: list[dict[str, Any]] = [{}] if self._default_first else []
        keys = {config_key(self._complete(fields)) for fields in [*first, *points]}
        return len(keys) if num_samples is None else min(num_samples, len(keys))

    def remaining(self) -> int:
        """Trials to run from now on: interrupted ones and new ones."""
        assert self._num_samples is not None
        unfinished = len(self.ledger.unfinished())
        return unfinished + max(0, self._num_samples - len(self.ledger))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's (or pack's) configuration with its index, FINISHED, or None for later.

        A pack takes what belongs together out of the next trials; the others stay in the ledger,
        to be started by a later call, like those that were interrupted.
        """
        if self.active >= self.limit:
            return None
        while len(self._ready) < self.pack_size and (record := self._new()) is not None:
            self._ready.append(record)
        if not self._ready:
            # A trial under way may still lose its process, and be suggested again.
            return None if self.ledger.unfinished() else str(Searcher.FINISHED)
        self.active += 1
        if self.pack_size == 1:
            record = self._ready.pop(0)
            return {**record.config, INDEX: record.index}
        first = self.pack_key(self._ready[0].config)
        pack = [r for r in self._ready if self.pack_key(r.config) == first][: self.pack_size]
        self._ready = [record for record in self._ready if record not in pack]
        return pack_config([{**record.config, INDEX: record.index} for record in pack])

    def again(self, record: TrialRecord) -> None:
        """Has an unfinished trial suggested once more, because Ray has given it up."""
        self._ready.append(record)

    def _new(self) -> TrialRecord | None:
        ledger = self.ledger
        if self._num_samples is not None and len(ledger) >= self._num_samples:
            return None
        if not len(ledger) and self._default_first:
            return ledger.add({}, self._complete({}))
        self._proposer.tell(ledger)
        attempt = num_refused = 0
        while point := self._proposer.propose(len(ledger), attempt):
            params, fields = point
            config = self._complete(fields)
            refused = self._refuses is not None and self._refuses(fields)
            if not refused and not ledger.has(config):
                record = ledger.add(params, config)
                self._proposer.tell(ledger)
                return record
            attempt += 1
            num_refused += refused
            # Few configurations may keep to a constraint: more is tried for those that do.
            most = _REFUSALS if num_refused > ATTEMPTS // 2 else ATTEMPTS
            if attempt >= most and not isinstance(self._proposer, ListProposer):
                if num_refused > ATTEMPTS // 2:
                    self._give_up(num_refused)
                return None
        return None

    def _give_up(self, num_refused: int) -> None:
        print(
            f"raysweep: {num_refused} proposals in a row broke {self._refuses}: the search ends "
            f"with {len(self.ledger)} trials. Loosen the limit, or widen the search",
            file=sys.stderr,
        )
        self._num_samples = len(self.ledger)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: endings reach the ledger through the run's callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the state."""
