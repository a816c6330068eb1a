"""The Pareto front as a table, and how many trials broke a constraint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.objectives.choice import pareto_front
from raysweep.core.objectives import judged_by

if TYPE_CHECKING:
    from rich.console import Console

    from raysweep.cluster.runs.ledger import Ledger, TrialRecord

__all__ = ["front_record", "print_front", "value_text"]

_MOST_ROWS = 20
_MOST_FIELDS = 4


def front_record(ledger: Ledger) -> dict[str, Any]:
    """Objectives, constraints and the front as JSON-able values; empty for one metric alone."""
    named = judged_by(ledger.objectives, ledger.constraints)
    others = [name for name in named if name != ledger.metric]
    record: dict[str, Any] = {"judged_by": others} if others else {}
    if len(ledger.objectives) > 1:
        record["objectives"] = list(map(str, ledger.objectives))
        record["pareto"] = [
            {
                "trial": trial.index,
                **{each.name: best[each.name] for each in ledger.objectives},
                "params": trial.params,
            }
            for trial in pareto_front(ledger)
            if (best := trial.best(ledger.metric, ledger.mode))
        ]
    if ledger.constraints:
        record["constraints"] = list(map(str, ledger.constraints))
        record["infeasible"] = [t.index for t in ledger if _broke(ledger, t)]
    return record


def print_front(console: Console, ledger: Ledger, searched: list[str]) -> None:
    """Prints a line a trial of the front, the best by the first objective first.

    Args:
        console: where to.
        ledger: the run's.
        searched: fields whose values differ between trials; the first few are shown.
    """
    if broke := sum(_broke(ledger, trial) for trial in ledger):
        limits = " and ".join(map(str, ledger.constraints))
        whose = "1 trial does" if broke == 1 else f"{broke} trials do"
        console.print(f"{whose} not keep to {limits}", markup=False)
    front = pareto_front(ledger)
    if len(ledger.objectives) < 2 or not front:
        return
    from rich.table import Table

    console.print(f"\n[bold]Pareto front[/], {len(front)} of {len(ledger)} trials: what none beats")
    table = Table(box=None, pad_edge=False)
    names = [each.name for each in ledger.objectives]
    fields = searched[:_MOST_FIELDS]
    for name in ("trial", *names, *fields):
        table.add_column(name, justify="right")
    for trial in front[:_MOST_ROWS]:
        best = trial.best(ledger.metric, ledger.mode) or {}
        default = " (default)" if trial.index == 0 else ""
        table.add_row(
            f"{trial.index}{default}",
            *(value_text(best[name]) for name in names),
            *(value_text(trial.config[field]) for field in fields),
        )
    console.print(table)
    if len(front) > _MOST_ROWS:
        console.print(
            f"and {len(front) - _MOST_ROWS} more; `raysweep report` has all", markup=False
        )
    console.print()


def value_text(value: Any) -> str:
    """A measured value or a field's, for people."""
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ",".join(value_text(each) for each in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1000 else f"{value:.4g}"


def _broke(ledger: Ledger, trial: TrialRecord) -> bool:
    """Whether a trial has a result that breaks a constraint."""
    return bool(trial.history and ledger.constraints) and not ledger.feasible(trial)
