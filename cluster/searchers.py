"""Searchers: which configuration to try next. Random, grid and TPE, one interface to Ray Tune.

The first trial of every search is the default configuration, so that the best always stands beside
what one would have had without searching. What comes after is a function of the seed, the trial's
index and, for TPE, the results so far: a search that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher

from cluster.ledger import FAILED, FINISHED, RUNNING, Ledger, TrialRecord, config_key
from search_spaces import Suggest, grid, sample
from trainables.base import INDEX, pack_config

if TYPE_CHECKING:
    import optuna

__all__ = [
    "LedgerSearcher",
    "ListProposer",
    "Point",
    "Proposer",
    "TPEProposer",
    "build_proposer",
]

Point = tuple[dict[str, Any], dict[str, Any]]
_ATTEMPTS = 100


class Proposer(ABC):
    """Proposes points (params, configuration fields); may propose one twice."""

    @abstractmethod
    def propose(self, index: int, attempt: int) -> Point | None:
        """A point for trial `index`; a further one for each attempt; None if there are no more."""

    def tell(self, ledger: Ledger) -> None:  # noqa: B027  (learning is optional)
        """Learns from the results so far. Random and grid do not."""

    def points(self) -> list[dict[str, Any]] | None:
        """The configuration fields of all points, where there are finitely many of them."""
        return None


class RandomProposer(Proposer):
    """Independent draws, each a pure function of (seed, index, attempt)."""

    def __init__(self, suggest: Suggest, seed: int) -> None:
        self._suggest, self._seed = suggest, seed

    def propose(self, index: int, attempt: int) -> Point | None:
        """Draws the point of that index."""
        return sample(self._suggest, self._seed, index, attempt)


class ListProposer(Proposer):
    """Given points, in order."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(points)
        self._next = iter(self._points)

    def propose(self, index: int, attempt: int) -> Point | None:
        """The next point; those that ran before are passed over by the caller."""
        return next(self._next, None)

    def points(self) -> list[dict[str, Any]]:
        """The configuration fields of all points."""
        return [fields for _, fields in self._points]


class TPEProposer(Proposer):
    """Tree-structured Parzen estimator, as Optuna implements it (multivariate, grouped).

    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; stopped trials
    are told as pruned, running ones count as bad (constant liar), so that workers spread out.
    """

    def __init__(self, suggest: Suggest, seed: int, mode: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._suggest, self._seed = suggest, seed
        direction = optuna.study.StudyDirection.MINIMIZE
        if mode == "max":
            direction = optuna.study.StudyDirection.MAXIMIZE
        self._study = optuna.create_study(direction=direction)
        self._numbers: dict[int, int] = {}
        self._told: set[int] = set()
        self._pending: optuna.Trial | None = None

    def observe(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, Any],
        value: float,
        stopped_after: int | None = None,
    ) -> None:
        """Adds a result from another run.

        Args:
            params: those of the space's that are known.
            distributions: Optuna's, of these params.
            value: of the metric.
            stopped_after: epochs after which the trial was stopped; None if it was not.
        """
        import optuna

        state, reached = optuna.trial.TrialState.COMPLETE, {}
        if stopped_after is not None:
            state, reached = optuna.trial.TrialState.PRUNED, {stopped_after: value}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params=dict(params),
                distributions=dict(distributions),
                intermediate_values=reached,
            )
        )

    def propose(self, index: int, attempt: int) -> Point | None:
        """Asks Optuna. A proposal that was not taken up is told as failed."""
        from optuna.trial import TrialState

        if self._pending is not None:
            self._study.tell(self._pending, state=TrialState.FAIL)
        self._study.sampler = self._sampler(index, attempt)
        self._pending = self._study.ask()
        fields = self._suggest(self._pending)
        return dict(self._pending.params), fields

    def _sampler(self, index: int, attempt: int) -> optuna.samplers.BaseSampler:
        import optuna

        seed = (self._seed * 1_000_003 + index * 101 + attempt) % 2**32
        if attempt >= _ATTEMPTS // 2:
            # A small space is nearly used up: what is left is found faster by chance.
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True
            )

    def tell(self, ledger: Ledger) -> None:
        """Brings the study up to date with the ledger, also after a restart."""
        for trial in ledger:
            if trial.index in self._told or not trial.params:
                continue
            number = self._number(trial)
            if trial.status != RUNNING:
                self._tell(number, trial, ledger)
                self._told.add(trial.index)

    def _number(self, trial: TrialRecord) -> int:
        """The study's number of a trial, added to it first if need be."""
        import optuna

        if trial.index not in self._numbers:
            if self._pending is not None and self._pending.params == trial.params:
                self._numbers[trial.index] = self._pending.number
                self._pending = None
            else:
                replay = optuna.trial.FixedTrial(trial.params)
                self._suggest(replay)
                self._study.add_trial(
                    optuna.trial.create_trial(
                        state=optuna.trial.TrialState.RUNNING,
                        params=replay.params,
                        distributions=replay.distributions,
                    )
                )
                self._numbers[trial.index] = len(self._study.get_trials(deepcopy=False)) - 1
        return self._numbers[trial.index]

    def _tell(self, number: int, trial: TrialRecord, ledger: Ledger) -> None:
        from optuna.trial import Trial, TrialState

        best = trial.best(ledger.metric, ledger.mode)
        if trial.status == FAILED or best is None:
            self._study.tell(number, state=TrialState.FAIL)
        elif trial.status == FINISHED:
            self._study.tell(number, best[ledger.metric])
        else:
            handle = Trial(self._study, number)
            handle.report(best[ledger.metric], step=trial.epoch)
            self._study.tell(number, state=TrialState.PRUNED)


def build_proposer(name: str, suggest: Suggest, seed: int, mode: str) -> Proposer:
    """The proposer of that name, one of `cluster.request.SEARCHERS`."""
    if name == "random":
        return RandomProposer(suggest, seed)
    if name == "grid":
        return ListProposer(list(grid(suggest)))
    return TPEProposer(suggest, seed, mode)


class LedgerSearcher(Searcher):
    """Hands Ray Tune first the ledger's unfinished trials, then new ones up to `num_samples`.

    Args:
        ledger: the run's memory; every suggestion is written to it before Ray sees it.
        proposer: where new points come from.
        complete: turns configuration fields into a full configuration.
        num_samples: trials in the whole run; None for as many as the proposer has.

    Attributes:
        limit: trials (or packs of them) that may be pending or running at a time.
        active: trials that are; the run's callback counts them at every step.
        pack_size: trials that may train as one model; with 1 none do.
        pack_key: of a configuration; those with an equal one may train as one model.
    """

    limit: int = 1
    active: int = 0
    pack_size: int = 1
    pack_key: Callable[[dict[str, Any]], str | None]

    def __init__(
        self,
        ledger: Ledger,
        proposer: Proposer,
        complete: Callable[[dict[str, Any]], dict[str, Any]],
        num_samples: int | None,
    ) -> None:
        super().__init__(metric=ledger.metric, mode=ledger.mode)
        self.ledger, self._proposer, self._complete = ledger, proposer, complete
        self._num_samples = self._total(num_samples)
        self._ready = ledger.unfinished()

    def _total(self, num_samples: int | None) -> int | None:
        points = self._proposer.points()
        if points is None:
            return num_samples
        keys = {config_key(self._complete(fields)) for fields in [{}, *points]}
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
        pack = [r for r in self._ready if first and self.pack_key(r.config) == first]
        pack = pack[: self.pack_size] or self._ready[:1]
        self._ready = [record for record in self._ready if record not in pack]
        return pack_config([{**record.config, INDEX: record.index} for record in pack])

    def again(self, record: TrialRecord) -> None:
        """Has an unfinished trial suggested once more, because Ray has given it up."""
        self._ready.append(record)

    def _new(self) -> TrialRecord | None:
        ledger = self.ledger
        if self._num_samples is not None and len(ledger) >= self._num_samples:
            return None
        if not len(ledger):
            return ledger.add({}, self._complete({}))
        self._proposer.tell(ledger)
        attempt = 0
        while point := self._proposer.propose(len(ledger), attempt):
            params, fields = point
            config = self._complete(fields)
            if not ledger.has(config):
                record = ledger.add(params, config)
                self._proposer.tell(ledger)
                return record
            attempt += 1
            if attempt >= _ATTEMPTS and not isinstance(self._proposer, ListProposer):
                return None
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to do: endings reach the ledger through the run's callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the state."""
