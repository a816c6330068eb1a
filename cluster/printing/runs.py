"""What `runs`, `show`, `best` and `watch` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raysweep.cluster.printing.front import print_front
from raysweep.cluster.printing.outlook import next_step, print_outlook
from raysweep.cluster.printing.search import (
    comparison,
    counts_line,
    search_summary,
    trial_summary,
)
from raysweep.cluster.runs.experiment import read_experiment
from raysweep.cluster.runs.listing import state
from raysweep.cluster.runs.report import is_complete

if TYPE_CHECKING:
    from raysweep.cluster.runs.ledger import TrialRecord
    from raysweep.cluster.runs.listing import RunRow
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = ["print_best", "print_run", "print_runs", "run_summary"]

_WORDS = ("run", "state", "trains", "searches")
_WIDE = 200  # a narrow terminal breaks long lines, which is better than names cut short


def run_summary(run: SavedRun) -> dict[str, Any]:
    """A run as JSON-able values: those of `tune --json`, its state, and how it was started."""
    summary = search_summary(run.request, run.storage, run.ledger, complete=is_complete(run))
    experiment = read_experiment(run.storage)
    names = ("command", "created", "data_description", "git_commit", "python", "versions")
    made = {name: experiment.get(name) for name in names}
    return {**summary, "state": state(run), "num_samples": run.request.num_samples, **made}


def print_runs(rows: Sequence[RunRow], root: str) -> None:
    """A line a run."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "state", "trains", "searches", "best", "trials", "age", "size"):
        justify = "left" if name in _WORDS else "right"
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        best = "–" if row.best is None else f"{row.metric} {row.best:.4f}"
        table.add_row(
            *(row.name, row.state, row.task, row.spaces or "–", best, str(row.trials)),
            *(_age(row.age_s), _size(row.size)),
        )
    console = Console(highlight=False, width=_WIDE)
    console.print(table if rows else f"{root}: no runs yet; start one with `raysweep tune`")


def print_run(run: SavedRun) -> None:
    """What was asked for, how it stands, the best beside the default."""
    from rich.console import Console

    console, summary = Console(soft_wrap=True, highlight=False), run_summary(run)
    trials = f"{summary['num_trials']} trials"
    if (epochs := run.request.max_epochs) is not None:
        trials += f", {sum(t.epoch for t in run.ledger)} epochs of a budget of {epochs:g}"
    elif summary["num_samples"]:
        trials = f"{summary['num_trials']} of {summary['num_samples']} trials"
    lines = {
        "run": summary["run"],
        "state": f"{summary['state']}, {trials}",
        "data": summary["data_description"],
        "command": summary["command"],
        "started": summary["created"],
    }
    for name, value in lines.items():
        console.print(f"{name:9} {value}", markup=False)
    if summary["best"]:
        console.print(comparison(summary))
    for failure in summary["failures"][:5]:
        console.print(f"trial {failure['trial']} failed: {failure['error']}", markup=False)
    if summary["num_trials"]:
        console.print(counts_line(summary["counts"]))
    print_front(console, run.ledger, summary["searched"])
    print_outlook(console, run.ledger)
    if summary["state"] == "interrupted":
        console.print("the command above goes on where it stopped")
    console.print(f"report    raysweep report {summary['run']}", markup=False)
    if summary["state"] == "finished" and run.ledger.outlook:
        step = next_step(run.request, run.ledger, f"raysweep confirm {summary['run']}")
        console.print(f"next      {step}", markup=False)


def print_best(run: SavedRun, best: TrialRecord | None = None) -> None:
    """The best trial's result, or another trial's, and each field that is not the default's."""
    from rich.console import Console

    summary = run_summary(run)
    if best is not None:
        summary["best"] = trial_summary(run.ledger, best)
    Console(soft_wrap=True, highlight=False).print(comparison(summary))


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000.0 or unit == "GB":
            break
        size /= 1000.0
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
