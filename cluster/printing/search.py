"""What the commands print: tables for people, JSON for machines."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysweep.cluster.printing.front import front_record, print_front, value_text
from raysweep.cluster.printing.outlook import next_step, outlook_record, print_outlook
from raysweep.cluster.runs.effects import effect_record, search_effects
from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, Ledger, TrialRecord
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from raysweep.analysis.effects.effect import Effect
    from raysweep.cluster.runs.saved_run import SavedRun
    from raysweep.cluster.search.confirm import Confirmation
    from raysweep.cluster.search.run import SearchResult
    from raysweep.core.storage import Storage

__all__ = [
    "comparison",
    "counts_line",
    "print_confirmation",
    "print_search",
    "search_summary",
    "trial_summary",
]

_MOST_PANELS = 12


def search_summary(
    request: SearchRequest, storage: Storage, ledger: Ledger, *, complete: bool
) -> dict[str, Any]:
    """A search as JSON-able values: run, counts, best and default."""
    ranked = ledger.ranked()
    counts = {s: sum(t.status == s for t in ledger) for s in (FINISHED, STOPPED, FAILED, RUNNING)}
    return {
        "run": storage.uri,
        "task": request.task,
        "spaces": list(request.spaces),
        "metric": request.metric,
        "mode": request.mode,
        "searched": sorted(_searched(ledger)),
        "complete": complete,
        "num_trials": len(ledger),
        "counts": counts,
        "best": trial_summary(ledger, ranked[0]) if ranked else None,
        "default": trial_summary(ledger, ledger.default) if ledger.default else None,
        "failures": [{"trial": t.index, "error": t.error} for t in ledger if t.status == FAILED],
        **front_record(ledger),
        **outlook_record(ledger),
    }


def _searched(ledger: Ledger) -> set[str]:
    """The fields whose values differ between trials."""
    first = ledger.trials[0].config if len(ledger) else {}
    return {k for t in ledger for k, v in t.config.items() if v != first[k]}


def trial_summary(ledger: Ledger, trial: TrialRecord) -> dict[str, Any]:
    """A trial as JSON-able values, with the result of its best epoch."""
    best = trial.best(ledger.metric, ledger.mode) or {}
    return {
        "trial": trial.index,
        "status": trial.status,
        "metrics": best,
        "params": trial.params,
        "config": trial.config,
    }


def print_search(request: SearchRequest, result: SearchResult, *, as_json: bool) -> None:
    """Prints the outcome of `tune` or `train`, and draws the search's picture."""
    summary = search_summary(request, result.storage, result.ledger, complete=result.complete)
    answered = request.searches and (result.complete or bool(result.goal))
    effects = search_effects(result.ledger, summary["searched"]) if answered else []
    pictures = _draw(request, result, effects) if answered else []
    if as_json:
        records = [effect_record(effect, request.metric) for effect in effects]
        print(json.dumps({**summary, "effects": records, "pictures": pictures}, default=str))
        return
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\n[bold]{result.dataset.description}[/]")
    if summary["best"]:
        console.print(comparison(summary))
    for failure in summary["failures"][:5]:
        console.print(f"trial {failure['trial']} failed: {failure['error']}", markup=False)
    console.print(counts_line(summary["counts"]))
    print_front(console, result.ledger, summary["searched"])
    _print_effects(console, effects, request.metric, has_default=bool(summary["default"]))
    print_outlook(console, result.ledger)
    run = result.storage.uri
    console.print(f"table        {run}/trials.parquet", markup=False)
    if summary["best"]:
        console.print(f"best model   {run}/best", markup=False)
    for picture in pictures:
        console.print(f"picture      {picture}", markup=False)
    command = command_name()
    console.print(f"TensorBoard  {command} tensorboard {run}", markup=False)
    if result.goal:
        console.print(f"\nEnded early: {result.goal}. Without that limit the same command goes on.")
    elif not result.complete:
        console.print("\nInterrupted. The same command goes on where this one stopped.")
    elif request.searches and summary["best"]:
        step = next_step(request, result.ledger, f"{command} confirm {run}")
        console.print(f"next         {step}", markup=False)


def _print_effects(
    console: Console, effects: Sequence[Effect], metric: str, *, has_default: bool
) -> None:
    """Says of each field what it did, those with a measurable effect first."""
    from raysweep.analysis.effects.sentences import effect_sentence, of_the_first_trial

    if not effects:
        return
    console.print("\n[bold]What mattered[/], other fields averaged over, with 95% intervals")
    for effect in sorted(effects, key=lambda e: e.verdict == "no measurable difference"):
        text = effect_sentence(effect, metric)
        console.print(f"  {text if has_default else of_the_first_trial(text)}", markup=False)
    console.print()


def command_name() -> str:
    """What to type for another command: `raysweep`, or how this one was started if that fails."""
    program = Path(sys.argv[0])
    if (program.parent.name, program.name) == ("raysweep", "__main__.py"):
        return f"{sys.executable} -m raysweep"
    if program.name != "raysweep" or not program.is_file():
        return "raysweep"
    on_path = shutil.which("raysweep")
    return "raysweep" if on_path and program.samefile(on_path) else str(program)


def comparison(summary: dict[str, Any]) -> Any:
    """A table of the best trial beside the default, if there is one."""
    from rich.table import Table

    best, default = summary["best"], summary["default"]
    shown = {f"best (trial {best['trial']})": best}
    if default is not None:
        shown["default (trial 0)"] = default
    if default is not None and best["trial"] == 0:
        shown = {"default (trial 0)" if summary["num_trials"] == 1 else "the default is best": best}
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in shown:
        table.add_column(title, justify="right")
    metric = summary["metric"]
    table.add_row(f"[bold]{metric}[/]", *(_metric(t, metric) for t in shown.values()))
    for name in summary.get("judged_by", ()):
        table.add_row(name, *(value_text(t["metrics"].get(name)) for t in shown.values()))
    table.add_row("at epoch", *(str(t["metrics"].get("epoch", "–")) for t in shown.values()))
    for name, value in best["config"].items():
        other = value if default is None else default["config"][name]
        if value != other or name in summary["searched"]:
            table.add_row(name, *(_value(t["config"][name]) for t in shown.values()))
    return table


def _metric(trial: dict[str, Any], metric: str) -> str:
    value = trial["metrics"].get(metric)
    return "failed" if value is None else f"{value:.4f}"


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_value(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counts_line(counts: dict[str, int]) -> str:
    """How many trials ended how, in words."""
    words = [f"{n} {status}" for status, n in counts.items() if n]
    return f"{sum(counts.values())} trials: " + ", ".join(words)


def _draw(request: SearchRequest, result: SearchResult, effects: Sequence[Effect]) -> list[str]:
    """Draws the search's pictures into the run; returns their addresses."""
    if not result.ledger.ranked():
        return []
    from raysweep.analysis.search_plots import plot_search
    from raysweep.analysis.tensorboard.writer import FIGURES, figure_events

    table = result.ledger.table()
    columns = [c for c in table.columns if c.startswith("config.") and table[c].nunique() > 1]
    varied = [c.removeprefix("config.") for c in columns][:_MOST_PANELS]
    if not varied:
        return []
    storage = result.storage / "pictures"
    names = ["search.png"]
    # What breaks a constraint is drawn without a result, so that it is never shown as the best.
    table.loc[[not result.ledger.feasible(t) for t in result.ledger], request.metric] = None
    with storage.as_folder() as folder:
        plot_search(table, varied, request.metric, request.mode, folder / "search.png")
        if effects:
            from raysweep.analysis.effects.plots import plot_effects

            plot_effects(effects, request.metric, folder / "effects.png")
            names.append("effects.png")
    names += _draw_pauses(result.as_run(request), storage)
    names += _explain(result.as_run(request))
    figures = {name.removesuffix(".png"): storage.read(name) for name in names}
    storage.write(FIGURES, figure_events(figures, len(table)))
    return [(storage / name).uri for name in names]


def _draw_pauses(run: SavedRun, storage: Storage) -> list[str]:
    """Pictures of what a search that pauses trials decided and expects, as the report has them."""
    if run.ledger.outlook is None:
        return []
    from raysweep.analysis.report.sections.pauses import pauses
    from raysweep.cluster.runs.report import run_subject
    from raysweep.cluster.search.curves.seen import predicted_finals

    subject = run_subject(run, predicted_finals(run))
    drawn = [p for section in pauses(subject.trials, subject.facts) for p in section.pictures]
    for each in drawn:
        storage.write(f"{each.name}.png", each.png)
    return [f"{each.name}.png" for each in drawn]


def _explain(run: SavedRun) -> list[str]:
    """A picture of what a family's best model learned: for recommenders, of the factors."""
    from raysweep.cluster.models.predict import draw_learned

    # A model may be too small for a picture (two factors have no third component): not an error.
    with contextlib.suppress(UserError):
        return [address.rpartition("/")[2] for address in draw_learned(run)]
    return []


def print_confirmation(confirmation: Confirmation, *, as_json: bool) -> None:
    """Prints mean ± 95% interval of every configuration on the test set."""
    if as_json:
        print(
            json.dumps(
                {
                    "rows": confirmation.rows,
                    "metric": confirmation.metric,
                    "test_set_openings": confirmation.num_openings,
                    "path": confirmation.path,
                }
            )
        )
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    names = [confirmation.metric, confirmation.metric.replace("test_", "val_", 1)]
    names = [name for name in dict.fromkeys(names) if name in confirmation.rows[0]]
    table = Table(box=None, pad_edge=False)
    for name in ("configuration", "seeds", *names):
        table.add_column(name, justify="right" if name != "configuration" else "left")
    for row in confirmation.rows:
        cells = [f"{row[n]['mean']:.4f} ± {row[n]['interval_95']:.4f}" for n in names]
        table.add_row(row["label"], str(len(row["seeds"])), *cells)
    console.print(table)
    if not confirmation.num_openings:
        console.print(
            "mean ± 95% interval over fresh seeds, as your code measured it; only a Learner has a "
            "sealed test set"
        )
        console.print(f"written to {confirmation.path}", markup=False)
        return
    times = "once" if confirmation.num_openings == 1 else f"{confirmation.num_openings} times"
    console.print(f"mean ± 95% interval; the test set was opened {times} for this run")
    console.print(f"written to {confirmation.path}", markup=False)
