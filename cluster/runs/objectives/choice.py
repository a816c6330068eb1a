"""Which trials of a run nothing beats, and which is the best of those that keep to a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.pareto.front import non_domination_ranks
from raysweep.core.errors import UserError, nearest
from raysweep.core.objectives import Constraint, parse_constraint
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.user.tune_task import TuneTask

if TYPE_CHECKING:
    from raysweep.cluster.runs.ledger import Ledger, TrialRecord
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["best_where", "pareto_front"]


def pareto_front(ledger: Ledger) -> list[TrialRecord]:
    """The trials that no other one beats in every objective, in order of the first objective.

    A trial stands for the result of its best epoch; those that broke a constraint do not count.
    """
    ranked = ledger.ranked()
    if not ranked:
        return []
    results = [trial.best(ledger.metric, ledger.mode) or {} for trial in ranked]
    losses = np.array([ledger.losses(result) for result in results])
    return [ranked[row] for row in np.flatnonzero(non_domination_ranks(losses) == 0)]


def best_where(run: SavedRun, where: Sequence[str]) -> TrialRecord:
    """The best trial, by the metric or the first objective, among those within limits.

    Args:
        run: any run; constraints of its own hold too.
        where: such as `num_parameters<1e6`; NAME is a metric of the trials' results. The number of
            parameters is counted where the run did not measure it.

    Raises:
        UserError: a limit that cannot be read, names nothing that is known, or that no trial keeps.
    """
    limits = [parse_constraint(text, "--where") for text in where]
    ledger = run.ledger
    ranked = ledger.ranked()
    if not ranked:
        raise UserError(f"{run.storage.uri} has no trial with a result yet")
    rows = {t.index: _row(run, t, limits) for t in ranked}
    for limit in limits:
        known = sorted({name for row in rows.values() for name in row})
        if limit.name not in known:
            raise UserError(
                f'--where "{limit}": no trial has a {limit.name}{nearest(limit.name, known)}'
            )
    for trial in ranked:
        if all(limit.holds(rows[trial.index]) for limit in limits):
            return trial
    nearest_values = [_closest(limit, list(rows.values())) for limit in limits]
    raise UserError(
        f"none of {len(ranked)} trials keeps to {' and '.join(map(str, limits))}; "
        f"{'; '.join(nearest_values)}"
    )


def _row(run: SavedRun, trial: TrialRecord, limits: Sequence[Constraint]) -> dict[str, Any]:
    """A trial's best result, with what limits name and can be computed."""
    row = trial.best(run.request.metric, run.request.mode) or {}
    learner = run.request.learner
    wanted = any(limit.name == "num_parameters" for limit in limits)
    if wanted and "num_parameters" not in row and not issubclass(learner, TuneTask):
        config = learner.config_class.create(trial.config)
        row = {**row, "num_parameters": num_parameters(learner, config, run.dataset.arrays)}
    return {name: value for name, value in row.items() if isinstance(value, (int, float))}


def _closest(limit: Constraint, rows: Sequence[dict[str, Any]]) -> str:
    values = [row[limit.name] for row in rows if limit.name in row]
    best = min(values) if limit.sign.startswith("<") else max(values)
    return f"the nearest {limit.name} is {best:,.6g}"
