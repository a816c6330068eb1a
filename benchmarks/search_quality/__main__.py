"""How near searches come to the best within so many epochs, on learning curves that were recorded.

    python -m benchmarks.search_quality                     # RAYSWEEP_DATA/../search_quality
    python -m benchmarks.search_quality --quick             # a few tasks: some minutes on 2 cores
    python -m benchmarks.search_quality --curves taskset.npz --tasks tuning --workers 4
    python -m benchmarks.search_quality --curves lcbench --methods curves tpe-asha --noise 0.02
    python -m benchmarks.search_quality --curves lcbench --transfer 5   # after searches on others

A budget is the epochs of all trials together, by those of one full training. Regret is (best value
there is - best value seen) / (best value there is - that of a poor first epoch), from 0 to 1. What
the product has runs in its own code; optuna, smac and bohb run in .venv-rivals (`make rivals`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.harness import CONSOLE, save
from benchmarks.search_quality.clock import Outcome
from benchmarks.search_quality.figures import summary
from benchmarks.search_quality.methods.registry import METHODS, RIVAL_METHODS, require
from benchmarks.search_quality.picture import draw
from benchmarks.search_quality.searches import Search, run_all
from benchmarks.search_quality.tasks import Source
from benchmarks.search_quality.transfer import EARLIER, MISLED, EarlierSearch, misleading, others
from raysweep.core.errors import UserError, nearest

_PRINTED = Path("-")
BUDGETS = (1.0, 2.0, 5.0, 10.0, 20.0)
_QUICK_TASKS, _QUICK_SEEDS, _QUICK_BUDGETS = 6, 2, (1.0, 2.0, 5.0, 10.0)
_QUICK_METHODS = ("curves", "random", "tpe", "tpe-asha", "asha-promoting")


def sources(paths: Sequence[Path] | None) -> list[Source]:
    """Where the curves are: as `--curves` says, or beside the other samples.

    Raises:
        UserError: they are not there.
    """
    if paths:
        return [Source.at(path) for path in paths]
    data = os.environ.get("RAYSWEEP_DATA")
    folder = Path(data).parent / "search_quality" if data else None
    if folder is None or not folder.is_dir():
        raise UserError(
            "there are no learning curves here: give --curves taskset.npz or --curves lcbench, or "
            "let RAYSWEEP_DATA name a folder beside one called search_quality that holds both"
        )
    found = [folder / "lcbench", *sorted(folder.glob("*.npz"))]
    return [Source.at(path) for path in found if path.exists()]


def chosen_tasks(
    every: Sequence[Source], asked: Sequence[str] | None, most: int | None
) -> list[tuple[Source, str]]:
    """Tasks with where they are from, in order.

    Args:
        every: where tasks are.
        asked: test, tuning, all, or names; None for what is for tests, or else all.
        most: evenly spaced ones of each source; None for all that were asked for.

    Raises:
        UserError: a name is not one of a task.
    """
    known = [name for source in every for name in source.task_names()]
    for word in asked or ():
        if word not in ("all", "test", "tuning", *known):
            raise UserError(
                f"--tasks {word}: give test, tuning, all, or names such as {known[0]}"
                f"{nearest(word, known)}"
            )
    pairs = []
    for source in every:
        names = source.chosen(asked)
        if most is not None and len(names) > most:
            names = [names[k] for k in np.linspace(0, len(names) - 1, most).round().astype(int)]
        pairs += [(source, name) for name in names]
    if not pairs:
        raise UserError(f"--tasks {' '.join(asked or ())}: there is no such task in --curves")
    return pairs


def _with_bar(searches: Sequence[Any], jobs: int) -> list[Any]:
    """Runs all searches with a bar; what each gave, in their order."""
    outcomes: list[Any] = [None] * len(searches)
    columns = (TextColumn("searches"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("searches", total=len(searches))
        for place, outcome in run_all(searches, jobs):
            outcomes[place] = outcome
            progress.advance(bar)
    return outcomes


def measure(
    searches: Sequence[Search], shape: tuple[int, int, int], jobs: int
) -> list[list[list[Outcome]]]:
    """Runs all searches with a bar; [methods][tasks][seeds]."""
    methods, tasks, seeds = shape
    flat = iter(_with_bar(searches, jobs))
    # Tasks come first, so that the time remaining is known early.
    by_task = [[[next(flat) for _ in range(seeds)] for _ in range(methods)] for _ in range(tasks)]
    return [[by_task[t][m] for t in range(tasks)] for m in range(methods)]


def with_earlier(
    searches: Sequence[Search], pairs: Sequence[tuple[Source, str]], count: int, jobs: int
) -> list[Search]:
    """The same searches, where their method says so with what searches on other tasks found.

    Args:
        searches: to be compared.
        pairs: all tasks that are.
        count: of other tasks.
        jobs: processes.

    Raises:
        UserError: there are not so many other tasks of the same source.
    """
    named: dict[Path, list[str]] = {}
    for source, name in pairs:
        named.setdefault(source.path, []).append(name)
    before = {
        search: others(search.task, search.seed, named[search.curves], count)
        for search in searches
        if search.method in (EARLIER, MISLED)
    }
    needed = sorted({(s.curves, name) for s, names in before.items() for name in names})
    runs = _with_bar([EarlierSearch(path, name) for path, name in needed], jobs)
    found = dict(zip(needed, runs, strict=True))
    upside_down = {
        key: misleading(run, Source.at(key[0]).load(key[1])) for key, run in found.items()
    }
    out = []
    for search in searches:
        known = upside_down if search.method == MISLED else found
        taken = tuple(known[search.curves, name] for name in before.get(search, ()))
        out.append(replace(search, earlier=taken))
    return out


def _columns(first: str, budgets: Sequence[str], title: str) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for budget in budgets:
        table.add_column(budget)
    return table


def _table(figures: dict[str, Any], budgets: Sequence[str], title: str) -> Table:
    table = _columns("method", budgets, title)
    for method, means in figures["regret"].items():
        spans = figures["intervals"][method]
        cells = (f"{means[b]:.3f}\n{spans[b][0]:.2f}–{spans[b][1]:.2f}" for b in budgets)
        table.add_row(method, *cells)
    return table


def _pairs_table(figures: dict[str, Any], budgets: Sequence[str]) -> Table:
    first = next(iter(figures["pairs"]))
    title = f"{first} : other, geometric mean of regret + 0.003; tasks won"
    table = _columns("other", budgets, title)
    for other, at in figures["pairs"][first].items():
        cells = (
            f"{at[b]['ratio']:.2f}, {at[b]['won']}/{at[b]['tasks']}\n"
            f"{at[b]['interval'][0]:.2f}–{at[b]['interval'][1]:.2f}"
            for b in budgets
        )
        table.add_row(other, *cells)
    return table


def _effort(outcomes: list[list[Outcome]]) -> dict[str, float]:
    every = [outcome for of_task in outcomes for outcome in of_task]
    return {
        "started": float(np.mean([o.num_started for o in every])),
        "resumed": float(np.mean([o.num_resumed for o in every])),
        "decisions_s": float(np.mean([o.decisions_s for o in every])),
        "slowest_decision_s": max(o.slowest_s for o in every),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--curves", type=Path, nargs="+", help="FILE.npz, or LCBench's folder")
    parser.add_argument("--budgets", type=float, nargs="+", help="full trainings; 1 2 5 10 20")
    parser.add_argument("--seeds", type=int, help="searches of each task; 5")
    names = (*METHODS, *RIVAL_METHODS)
    parser.add_argument(
        "--methods", nargs="+", choices=names, metavar="METHOD", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--workers", type=int, default=1, help="trials at a time; 1")
    parser.add_argument("--tasks", nargs="+", help="test (the default), tuning, all, or names")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="added to values, by the task's range; 0"
    )
    parser.add_argument(
        "--recorded-seconds", action="store_true", help="epochs last as long as was recorded"
    )
    parser.add_argument(
        "--transfer",
        type=int,
        metavar="N",
        help="curves after searches of 10 trainings on N other tasks, too, and on N upside down",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes; 2")
    parser.add_argument("--quick", action="store_true", help="6 tasks, 2 seeds, 10 trainings")
    parser.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=_PRINTED,
        metavar="OUT",
        help="prints the figures as JSON; with OUT also writes all of them there",
    )
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draws regret over budget")
    return parser


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the searches that were asked for, prints tables, and returns every figure."""
    quick = options.quick
    budgets = sorted(set(options.budgets or (_QUICK_BUDGETS if quick else BUDGETS)))
    transfers = options.transfer is not None
    usual = ("curves",) if transfers else _QUICK_METHODS if quick else METHODS
    methods = list(options.methods or usual)
    default = _QUICK_SEEDS if quick else 5
    num_seeds = default if options.seeds is None else options.seeds
    if budgets[0] <= 0 or min(num_seeds, options.workers, options.jobs) < 1 or options.noise < 0:
        raise UserError(
            "--budgets, --seeds, --workers and --jobs must be above 0, and --noise not below"
        )
    require(methods)
    methods += [EARLIER, MISLED] if transfers else []
    every = sources(options.curves)
    pairs = chosen_tasks(every, options.tasks, _QUICK_TASKS if quick else None)
    searches = [
        Search(
            curves=source.path,
            task=name,
            method=method,
            seed=seed,
            budget=budgets[-1],
            workers=options.workers,
            noise=options.noise,
            recorded_seconds=options.recorded_seconds,
        )
        for source, name in pairs
        for method in methods
        for seed in range(num_seeds)
    ]
    if transfers:
        searches = with_earlier(searches, pairs, options.transfer, options.jobs)
    outcomes = measure(searches, (len(methods), len(pairs), num_seeds), options.jobs)
    lengths = [source.load(name).max_t for source, name in pairs]
    # [methods, tasks, seeds, budgets]
    regrets = np.array(
        [
            [
                [[o.regret[max(1, round(b * t)) - 1] for b in budgets] for o in of_task]
                for of_task, t in zip(of_method, lengths, strict=True)
            ]
            for of_method in outcomes
        ]
    )
    tasks = [name for _, name in pairs]
    figures = summary(regrets, methods, tasks, budgets)
    words = [f"{budget:g}" for budget in budgets]
    figures["suites"] = {}
    for source in every:
        of_suite = [k for k, (its, _) in enumerate(pairs) if its is source]
        if not of_suite:
            continue
        suite = summary(regrets[:, of_suite], methods, [tasks[k] for k in of_suite], budgets)
        figures["suites"][source.name] = suite
        title = (
            f"{source.name}: mean regret of {len(of_suite)} tasks × {num_seeds} seeds, by trainings"
        )
        CONSOLE.print(_table(suite, words, title))
        if len(methods) > 1:
            CONSOLE.print(_pairs_table(suite, words))
    figures["effort"] = {m: _effort(o) for m, o in zip(methods, outcomes, strict=True)}
    figures["protocol"] = {
        "tasks": tasks,
        "seeds": num_seeds,
        "budgets": budgets,
        "workers": options.workers,
        **({"transfer": options.transfer} if transfers else {}),
        "noise": options.noise,
        "recorded_seconds": options.recorded_seconds,
    }
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints tables of regrets; see the module."""
    options = _parser().parse_args(arguments)
    try:
        figures = compare(options)
    except UserError as error:
        print(f"search_quality: {error}", file=sys.stderr)
        sys.exit(2)
    if options.picture:
        draw(figures, options.picture)
    if options.json:
        if options.json != _PRINTED:
            save(options.json, figures, {})
        # The last line of the output, for other programs.
        print(json.dumps({"regret": figures["regret"], "intervals": figures["intervals"]}))


if __name__ == "__main__":
    main()
