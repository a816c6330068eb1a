"""Which configuration to try next: random, grid and TPE, one interface.

The first trial of every search is the default configuration, so that the best always stands beside
what one would have had without searching. What comes after is a function of the seed, the trial's
index and, for TPE, the results so far: a search that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, Ledger, TrialRecord, config_key
from raysweep.search_spaces import Suggest, grid, sample

if TYPE_CHECKING:
    import optuna

__all__ = [
    "ListProposer",
    "Point",
    "Proposer",
    "TPEProposer",
    "build_proposer",
    "longest_first",
]

Point = tuple[dict[str, Any], dict[str, Any]]
ATTEMPTS = 100


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

    def without(self, refuses: Callable[[dict[str, Any]], bool]) -> ListProposer:
        """The same without the points whose fields are refused."""
        return ListProposer([point for point in self._points if not refuses(point[1])])


class TPEProposer(Proposer):
    """Tree-structured Parzen estimator, as Optuna implements it (multivariate, grouped).

    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; stopped trials
    are told as pruned, running ones count as bad (constant liar), so that workers spread out.
    """

    def __init__(self, suggest: Suggest, seed: int, *modes: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._suggest, self._seed = suggest, seed
        kinds = optuna.study.StudyDirection
        directions = [kinds.MAXIMIZE if mode == "max" else kinds.MINIMIZE for mode in modes]
        self._study = optuna.create_study(directions=directions)
        self._numbers: dict[int, int] = {}
        self._told: set[int] = set()
        self._pending: optuna.Trial | None = None

    def observe(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, Any],
        *values: float,
        stopped_after: int | None = None,
        excesses: Mapping[str, float] | None = None,
    ) -> None:
        """Adds a result from another run.

        Args:
            params: those of the space's that are known.
            distributions: Optuna's, of these params.
            values: of the metric, or of each objective.
            stopped_after: epochs after which the trial was stopped; None if it was not.
            excesses: `Constraint.excess` of each constraint, by its text.
        """
        import optuna

        state, reached = optuna.trial.TrialState.COMPLETE, {}
        if stopped_after is not None and len(values) == 1:
            state, reached = optuna.trial.TrialState.PRUNED, {stopped_after: values[0]}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=dict(params),
                distributions=dict(distributions),
                intermediate_values=reached,
                constraints=dict(excesses or {}),
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

    def _seed_of(self, index: int, attempt: int) -> int:
        rounds, rest = divmod(attempt, 101)
        return (self._seed * 1_000_003 + index * 101 + rest + rounds * 500_000_003) % 2**32

    def _sampler(self, index: int, attempt: int) -> optuna.samplers.BaseSampler:
        import optuna

        seed = self._seed_of(index, attempt)
        if attempt >= ATTEMPTS // 2:
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
        """Tells Optuna how a trial ended; constraints by `set_constraint`."""
        from optuna.trial import Trial, TrialState

        best = trial.best(ledger.metric, ledger.mode)
        if trial.status == FAILED or best is None:
            self._study.tell(number, state=TrialState.FAIL)
            return
        handle = Trial(self._study, number)
        for name, excess in ledger.excesses(best).items():
            handle.set_constraint(name, excess)
        if len(ledger.objectives) > 1:
            # Optuna gives no values to a pruned trial here; what it reached says something.
            self._study.tell(number, [float(best[each.name]) for each in ledger.objectives])
        elif trial.status == FINISHED:
            self._study.tell(number, best[ledger.metric])
        else:
            handle.report(best[ledger.metric], step=trial.epoch)
            self._study.tell(number, state=TrialState.PRUNED)


def longest_first(
    proposer: Proposer,
    complete: Callable[[dict[str, Any]], dict[str, Any]],
    cost: Callable[[dict[str, Any]], float],
    num_samples: int | None,
    refuses: Callable[[dict[str, Any]], bool] | None = None,
) -> ListProposer:
    """All points of a proposer that does not learn, in order of what their trials will cost.

    The trials that take longest, started last, would each keep one worker busy while the others
    have nothing left to do. Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM Journal on
    Applied Mathematics 17(2), 1969: at most a third longer than the best order.

    Args:
        proposer: random or grid.
        complete: turns configuration fields into a full configuration.
        cost: of the trial with these fields, in any unit.
        num_samples: trials in all, the default one among them; None for all that there are.
        refuses: whether configuration fields break a constraint; such a point is left out.
    """
    points: list[Point] = []
    seen = {config_key(complete({}))}
    attempt = 0
    while num_samples is None or len(seen) < num_samples:
        point = proposer.propose(len(seen), attempt)
        if point is None or (attempt >= ATTEMPTS and not isinstance(proposer, ListProposer)):
            break
        key = config_key(complete(point[1]))
        passed = key in seen or (refuses is not None and refuses(point[1]))
        attempt = attempt + 1 if passed else 0
        if not passed:
            seen.add(key)
            points.append(point)
    return ListProposer(sorted(points, key=lambda point: -cost(point[1])))


def build_proposer(name: str, suggest: Suggest, seed: int, mode: str) -> Proposer:
    """The proposer of that name, one of `cluster.request.SEARCHERS`."""
    if name == "random":
        return RandomProposer(suggest, seed)
    if name == "grid":
        return ListProposer(list(grid(suggest)))
    return TPEProposer(suggest, seed, mode)
