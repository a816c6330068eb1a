"""Starting a search from what earlier runs found: prior observations, and their best to try first.

What is taken over is written into the new run's experiment.yaml when the run is made, so that it
resumes as it would have gone on, whatever has become of the earlier runs since. The searcher that
reads learning curves takes over more: see `curves.earlier`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.experiment import EXPERIMENT, read_experiment
from raysweep.cluster.runs.ledger import FINISHED, STOPPED
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun, open_run
from raysweep.cluster.search.proposers import Point, Proposer, TPEProposer
from raysweep.core.differences import differences
from raysweep.core.errors import UserError
from raysweep.core.objectives import Constraint, judged_by
from raysweep.core.storage import Storage
from raysweep.search_spaces import Suggest, sample

if TYPE_CHECKING:
    import optuna

__all__ = [
    "TriedFirst",
    "WarmStart",
    "earlier_results",
    "notes_on",
    "nothing_in_common",
    "recall",
    "refuse",
]

# Earlier configurations that are trained again, right after the default.
_TRIED_AGAIN = 3


class _UnknownBranchError(Exception):
    """A choice that decides what else is asked was not made in the earlier run."""


class _Recall:
    """Answers a space from known values; a value that is not known, or not allowed, is left out."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, Any] = {}
        self.whole = True

    def _number(self, name: str, low: float, high: float, distribution: Any) -> Any:
        value = self._values.get(name)
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not low <= value <= high
            or not _is_step(value - low, distribution.step)
        ):
            self.whole = False
            return low
        self.params[name], self.distributions[name] = value, distribution
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        from optuna.distributions import FloatDistribution

        distribution = FloatDistribution(low, high, step=step, log=log)
        return float(self._number(name, low, high, distribution))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        from optuna.distributions import IntDistribution

        distribution = IntDistribution(low, high, step=step, log=log)
        return int(self._number(name, low, high, distribution))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        from optuna.distributions import CategoricalDistribution

        value = self._values.get(name)
        if name not in self._values or value not in choices:
            raise _UnknownBranchError
        self.params[name], self.distributions[name] = value, CategoricalDistribution(list(choices))
        return value


def _is_step(distance: float, step: float | None) -> bool:
    """Whether a value so far from the low end is one of those that are tried."""
    return not step or abs(distance / step - round(distance / step)) < 1e-6


def recall(
    suggest: Suggest, values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, optuna.distributions.BaseDistribution], dict[str, Any] | None]:
    """What a space would have asked for where these values were the answers.

    Args:
        suggest: the space.
        values: by the space's names.

    Returns:
        the params that are known, their distributions, and the configuration fields; None for
        these where not all is known.
    """
    trial = _Recall(values)
    try:
        fields = suggest(trial)
    except _UnknownBranchError:
        return trial.params, trial.distributions, None
    return trial.params, trial.distributions, fields if trial.whole else None


def earlier_results(
    request: SearchRequest, storage: Storage, fingerprint: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """What a search starts from: as its run wrote it down, or else read from the earlier runs.

    Args:
        request: the search, already `checked()`.
        storage: its folder; earlier runs are looked for beside it.
        fingerprint: of its data.

    Returns:
        the results, each with its run, trial, params, value, epochs and status; and notes for
        people, on what was different then.

    Raises:
        UserError: an earlier run does not exist, is of another trainable or metric, or has nothing
            in common with the search.
    """
    if storage.exists(EXPERIMENT):
        return list(read_experiment(storage).get("warm_start", [])), []
    results: list[dict[str, Any]] = []
    notes: list[str] = []
    for name in request.warm_start:
        run = open_run(name, storage.uri.rpartition("/")[0])
        refuse(request, run, name)
        usable = _results(request, run)
        if not usable and (missing := _missing(request, run)):
            raise UserError(
                f"--warm-start {name}: its trials have no {missing}, which this search judges by; "
                "leave it out"
            )
        if not usable:
            raise UserError(nothing_in_common(request, name))
        results += usable
        notes.append(f"starting from {len(usable)} trials of {name}")
        notes += notes_on(request, run, name, fingerprint)
    return results, notes


def nothing_in_common(request: SearchRequest, name: str) -> str:
    """What is said of an earlier run, by its name, that has no field of the space."""
    return (
        f"--warm-start {name}: it has no result for any field that is searched now "
        f"({', '.join(request.spaces)}); leave it out"
    )


def refuse(request: SearchRequest, run: SavedRun, name: str) -> None:
    """Raises UserError for an earlier run of another trainable or metric."""
    for what, theirs, mine in (
        ("trained", run.request.task, request.task),
        ("was judged by", run.request.metric, request.metric),
    ):
        if theirs != mine:
            raise UserError(
                f"--warm-start {name}: that run {what} {theirs}, and this search is about {mine}; "
                "results of the one say nothing about the other. Name another run"
                + ("" if what == "trained" else f", or give --metric {theirs}")
            )


def notes_on(request: SearchRequest, run: SavedRun, name: str, fingerprint: str) -> list[str]:
    """In what else an earlier run differed, for people."""
    notes = []
    if run.fingerprint != fingerprint:
        notes.append(f"{name} was made with other data or another split; its results are a hint")
    searched = sample(request.suggest(), 0)[1]
    then, now = (
        {k: v for k, v in json.loads(json.dumps(r.settings)).items() if k not in searched}
        for r in (run.request, request)
    )
    lines = differences(then, now)
    if lines:
        notes.append(f"{name} had other settings: {'; '.join(lines)}")
    return notes


def _judged_by(request: SearchRequest) -> list[str]:
    """What besides the metric a search judges by: objectives, then constraints."""
    named = judged_by(request.objectives, request.constraints)
    return [name for name in named if name != request.metric]


def _missing(request: SearchRequest, run: SavedRun) -> str:
    """What the search judges by and an earlier run's trials did not measure, in words."""
    known = {name for trial in run.ledger for result in trial.history for name in result}
    return ", ".join(name for name in _judged_by(request) if name not in known)


def _results(request: SearchRequest, run: SavedRun) -> list[dict[str, Any]]:
    suggest = request.suggest()
    results = []
    for trial in run.ledger:
        best = trial.best(request.metric, request.mode)
        if best is None or trial.status not in (FINISHED, STOPPED):
            continue
        others = {name: best.get(name) for name in _judged_by(request)}
        if None in others.values():
            continue
        # What was not searched then had a value all the same: the configuration holds it.
        params, _, _ = recall(suggest, {**trial.config, **trial.params})
        if params and math.isfinite(best[request.metric]):
            results.append(
                {
                    "run": run.storage.uri,
                    "trial": trial.index,
                    "params": params,
                    "value": best[request.metric],
                    "epochs": trial.epoch,
                    "status": trial.status,
                    **({"others": others} if others else {}),
                }
            )
    return results


def _best_earlier(suggest: Suggest, results: Sequence[Mapping[str, Any]], mode: str) -> list[Point]:
    """The best three configurations of earlier runs that lie in the space, the best first."""
    best: list[Point] = []
    for result in sorted(results, key=lambda r: r["value"], reverse=mode == "max"):
        params, _, fields = recall(suggest, result["params"])
        known = any(params == one for one, _ in best)
        if fields is not None and not known and len(best) < _TRIED_AGAIN:
            best.append((params, fields))
    return best


class WarmStart(Proposer):
    """Proposes the best earlier configurations first; another proposer learns from all of them.

    Args:
        inner: proposes the rest; TPE gets every earlier result as an observation.
        suggest: the space.
        results: of `earlier_results`.
        mode: "min" or "max".
        objectives: names of several objectives, the metric first; none for the metric alone.
        constraints: of the search.
    """

    def __init__(
        self,
        inner: Proposer,
        suggest: Suggest,
        results: Sequence[Mapping[str, Any]],
        mode: str,
        objectives: Sequence[str] = (),
        constraints: Sequence[Constraint] = (),
    ) -> None:
        self._inner = inner
        self._first = _best_earlier(suggest, results, mode)
        if isinstance(inner, TPEProposer):
            for result in results:
                params, distributions, _ = recall(suggest, result["params"])
                stopped, others = result["status"] == STOPPED, result.get("others", {})
                inner.observe(
                    params,
                    distributions,
                    result["value"],
                    *(others[name] for name in objectives[1:]),
                    stopped_after=result["epochs"] if stopped else None,
                    excesses={
                        str(c): c.excess(others.get(c.name, result["value"])) for c in constraints
                    },
                )

    def propose(self, index: int, attempt: int) -> Point | None:
        """The best earlier points for the first trials after the default, then the inner one's."""
        # A point that was tried already, as the default may be, gives its place to the next one.
        if index >= 1 and index - 1 + attempt < len(self._first):
            return self._first[index - 1 + attempt]
        return self._inner.propose(index, attempt)

    def tell(self, ledger: Any) -> None:
        """Passes the results so far on."""
        self._inner.tell(ledger)


class TriedFirst(Proposer):
    """Proposes given configurations right after the default, then what another proposer does.

    Args:
        inner: proposes the rest, and learns from those of the given ones that lie in the space.
        suggest: the space.
        request: its `points_to_evaluate` come first.
    """

    def __init__(self, inner: Proposer, suggest: Suggest, request: SearchRequest) -> None:
        self._inner, self._first = inner, 1 if request.has_default else 0
        self._points: list[Point] = []
        for point in request.points_to_evaluate:
            params, _, fields = recall(suggest, {**request.complete(point), **point})
            self._points.append(({} if fields is None else params, dict(point)))

    def propose(self, index: int, attempt: int) -> Point | None:
        """The given points for the first trials after the default, then the inner one's."""
        number = index - self._first + attempt
        if index >= self._first and number < len(self._points):
            return self._points[number]
        return self._inner.propose(index - len(self._points), attempt)

    def tell(self, ledger: Any) -> None:
        """Passes the results so far on."""
        self._inner.tell(ledger)

    def points(self) -> list[dict[str, Any]] | None:
        """The given points, too, where the inner ones are finitely many."""
        points = self._inner.points()
        return None if points is None else [*(fields for _, fields in self._points), *points]
