"""The table: every epoch beside what one would write instead, as ratios of processor time.

    python -m benchmarks.table                    # all rows; make bench
    python -m benchmarks.table --quick            # fewer rounds and batches; make bench-quick
    python -m benchmarks.table --rows mf packs    # some
    python -m benchmarks.table --check            # against the last saved report; make bench-check

All rows but the last train in this process, on one thread, the contestants in turns. Ratios are of
processor time, ours by theirs, round by round: what else a machine does moves them little. The last
compares what searches on recorded learning curves have found after equally many epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks import epochs, sentiment_epoch
from benchmarks.harness import CONSOLE, REPORTS, RIVALS, facts, report_path, spread
from benchmarks.search_quality import row as search

_THEME = "epochs"
# Medians of the same code in two reports of a machine that others kept busy differed by up to a
# fifth. Rounds are repeated runs, too: where one is farther than that from the median, so may the
# next report's median be.
_LEAST_TOLERANCE = 0.25


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        work: what both do.
        beside: the other contestant.
        goal: the ratio that it is to stay below; None where none was set.
        measure: of the number of rounds and of batches (0: all): ratios and final metrics of both.
    """

    work: str
    beside: str
    goal: float | None
    measure: Callable[[int, int], epochs.Measured]


def _text(model: str) -> Callable[[int, int], epochs.Measured]:
    def measure(rounds: int, batches: int) -> epochs.Measured:
        records = sentiment_epoch.compare(model, os.environ.get("RAYSWEEP_DATA"), rounds, batches)
        times, last = {}, {}
        for name in ("ours", "plain"):
            own = [record for record in records if record["name"] == name]
            times[name] = [record["processor_seconds"] for record in own]
            last[name] = own[-1]["val_accuracy"]
        return epochs.Measured(times["ours"], times["plain"], last["ours"], last["plain"])

    return measure


def _keras(model: str) -> Callable[[int, int], epochs.Measured]:
    data_dir = os.environ.get("RAYSWEEP_DATA")

    def measure(rounds: int, batches: int) -> epochs.Measured:
        if model == "lstm":  # whose steps Keras takes word by word, in ten seconds a batch or more
            batches = 1
        return sentiment_epoch.beside_keras(model, data_dir, rounds, batches)

    return measure


_NAMES = {"cnn": "CNN", "multi_width": "multi-width CNN", "lstm": "LSTM"}
_TEXTS = {
    key: Row(f"{_NAMES[model]}, an epoch", beside, sentiment_epoch.GOALS[model], measure(model))
    for model in _NAMES
    for key, beside, measure in (
        (model, "plain PyTorch", _text),
        (f"{model}_keras", "Keras 3 on PyTorch", _keras),
    )
}
ROWS = {
    **_TEXTS,
    "mf": Row("matrix factorisation, an epoch", "plain PyTorch", 0.5, epochs.factorisation),
    "surprise": Row("matrix factorisation, an epoch", "Surprise's SVD", None, epochs.surprise),
    "shards": Row("head from shards, an epoch", "DataLoader", 1 / 1.5, epochs.head_from_shards),
    "datasets": Row(
        "head from shards, an epoch",
        "Hugging Face datasets",
        1 / 1.5,
        epochs.head_beside_datasets,
    ),
    "memory": Row("head from shards, by the clock", "head in memory", 1.2, epochs.head_in_memory),
    "packs": Row("8 small factorisations packed", "one by one", 0.8, epochs.packed_factorisations),
    "net_packs": Row("8 small ratings networks packed", "one by one", 0.9, epochs.packed_networks),
    "head_packs": Row("8 small heads packed", "one by one", 0.8, epochs.packed_heads),
    "word_packs": Row("8 small word vectors packed", "one by one", 0.9, epochs.packed_words),
    "text_packs": Row("8 CNNs in turns", "one by one", None, epochs.packed_texts),
    "search": Row(
        f"regret of a search after {search.BUDGET:.0f} trainings",
        "TPE with ASHA",
        0.7,
        search.curves_beside_tpe,
    ),
}


_RIVALS = {"surprise", "datasets", *(f"{model}_keras" for model in _NAMES)}


def run(names: Sequence[str], rounds: int, batches: int) -> dict[str, Any]:
    """Measures rows; returns their records by name."""
    records = {}
    for name in names:
        row = ROWS[name]
        measured = row.measure(rounds, batches)
        ratios = [a / b for a, b in zip(measured.ours, measured.theirs, strict=True)]
        ratio = statistics.median(ratios)
        widest = max(abs(one / ratio - 1) for one in ratios)
        records[name] = {
            "work": row.work,
            "beside": row.beside,
            "goal": row.goal,
            "ratio": ratio,
            "tolerance": max(_LEAST_TOLERANCE, widest),
            "ratios": ratios,
            "processor_seconds": {"ours": measured.ours, "theirs": measured.theirs},
            "metric": {"ours": measured.metric, "theirs": measured.other_metric},
        }
        CONSOLE.print(f"{row.work} beside {row.beside}: {spread(ratios)}", style="dim")
    return records


def show(records: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table("work", "beside", "ratio", "goal", "", "metric, ours and theirs")
    for record in records.values():
        goal = record["goal"]
        met = "" if goal is None else "met" if record["ratio"] <= goal else "missed"
        metric = record["metric"]
        table.add_row(
            record["work"],
            record["beside"],
            spread(record["ratios"]),
            "" if goal is None else f"≤ {goal:.2f}",
            met,
            f"{metric['ours']:.4f}  {metric['theirs']:.4f}",
        )
    CONSOLE.print(table)


def check(records: dict[str, Any], report: dict[str, Any]) -> list[str]:
    """What became slower than in a saved report, by more than both reports' tolerance."""
    worse = []
    for name, record in records.items():
        if name not in report["rows"]:
            continue
        before = report["rows"][name]
        limit = before["ratio"] * (1 + max(before["tolerance"], record["tolerance"]))
        if record["ratio"] > limit:
            worse.append(
                f"{record['work']} beside {record['beside']}: {record['ratio']:.2f}, and "
                f"{before['ratio']:.2f} before, at most {limit:.2f}"
            )
    return worse


def last_report(kind: str) -> Path | None:
    """The newest saved report of a kind, `full` or `quick`, of this processor if it has one.

    Processors differ in ratios, too: in how much longer they take for denormal numbers, for one.
    """
    reports = {path: json.loads(path.read_text()) for path in REPORTS.glob(f"{_THEME}-*.json")}
    reports = {path: report for path, report in reports.items() if report["kind"] == kind}
    cpu = facts()["cpu"]
    of_cpu = {path: report for path, report in reports.items() if report["cpu"] == cpu}
    chosen = of_cpu or reports
    return max(chosen, key=lambda path: str(chosen[path]["time"]), default=None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and saves or compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), default=list(ROWS))
    parser.add_argument("--quick", action="store_true", help="3 rounds, 10 batches of text")
    parser.add_argument("--rounds", type=int, help="5 by default")
    parser.add_argument("--batches", type=int, default=0, help="of texts a round; all by default")
    parser.add_argument("--save", action="store_true", help="as a report in docs/benchmarks")
    parser.add_argument("--check", action="store_true", help="against the last report")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (3 if options.quick else 5)
    batches = options.batches or (10 if options.quick else 0)
    torch.set_num_threads(1)
    if not RIVALS.exists():
        CONSOLE.print("Surprise, Keras and datasets are left out: `make rivals` installs them")
        options.rows = [name for name in options.rows if name not in _RIVALS]
    if search.lcbench() is None and "search" in options.rows:
        CONSOLE.print(
            "searches are left out: RAYSWEEP_DATA has no search_quality/lcbench beside it"
        )
        options.rows.remove("search")
    kind = "quick" if options.quick else "full"
    records = run(options.rows, rounds, batches)
    show(records)
    report = {**facts(), "kind": kind, "rounds": rounds, "batches": batches, "rows": records}
    before = last_report(kind) if options.check else None
    if options.check and before is None:
        sys.exit(f"no {kind} report in {REPORTS}; make one with --save")
    worse = check(records, json.loads(before.read_text())) if before else []
    for line in worse:
        CONSOLE.print(f"[red]slower[/]: {line}")
    if before:
        CONSOLE.print(f"{len(worse)} of {len(records)} rows are slower than in {before.name}")
    if options.save:
        path = report_path(_THEME, kind)
        path.write_text(json.dumps(report, indent=1) + "\n")
        CONSOLE.print(f"written to {path}")
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
