"""All benchmarks beside what one would use instead, one after the other, and their goals.

    python -m benchmarks.everything               # make bench: an hour or two
    python -m benchmarks.everything --quick       # make bench-quick: under 10 minutes
    python -m benchmarks.everything --only starting features-lite0

Each is a program of its own (see benchmarks/README.md), which saves its report in docs/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import CONSOLE, report_path

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class _Program:
    """What `python -m` runs; `quick` holds its arguments in a quick run, None if it has no part."""

    module: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = None


# The tutorial's loader workers and whole epochs of Keras's networks would take hours.
_ONE = ("--repeats", "1")
_LITE0 = ("--backbone", "efficientnet_lite0")
PROGRAMS = {
    "epochs": _Program("table", ("--rounds", "3", "--batches", "100"), ("--quick",)),
    "ratings-search": _Program("ratings_search", (*_ONE, "--without-tutorial-workers")),
    # The default configuration may reach the target by itself: several seeds, to be no luck.
    "texts-search": _Program("sentiment_search", ("--repeats", "3")),
    "features-vgg16": _Program("image_features", ("--rounds", "1")),
    "features-lite0": _Program(
        "image_features",
        (*_LITE0, "--rounds", "1"),
        (*_LITE0, "--images", "400", "--rounds", "1", "--seconds", "5"),
    ),
    "overhead": _Program("overheads.trial_overhead"),
    "user-code": _Program("overheads.user_code", ("--trials", "960", "--rounds", "1")),
    "starting": _Program("overheads.starting", quick=_ONE),
}


def measure(theme: str, kind: str) -> dict[str, Any]:
    """Runs one of `PROGRAMS`; returns its report."""
    program, path = PROGRAMS[theme], report_path(theme, kind)
    arguments = program.full if kind == "full" else program.quick or ()
    # The table names its own report, the same way.
    where = ("--save",) if theme == "epochs" else ("--json", str(path))
    command = [sys.executable, "-m", f"benchmarks.{program.module}", *arguments, *where]
    CONSOLE.rule(theme)
    subprocess.run(command, cwd=_ROOT, check=True)
    return dict(json.loads(path.read_text()))


def goals(report: dict[str, Any]) -> list[tuple[str, float, float | None]]:
    """What was measured against which limit, of a report of any of them."""
    if "rows" in report:
        rows = report["rows"].values()
        return [(f"{r['work']}, by {r['beside']}", r["ratio"], r["goal"]) for r in rows]
    return [(g["goal"], g["value"], g["limit"]) for g in report["goals"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs them and prints all goals in one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under 10 minutes")
    parser.add_argument("--only", nargs="+", choices=sorted(PROGRAMS), default=list(PROGRAMS))
    options = parser.parse_args(arguments)
    kind = "quick" if options.quick else "full"
    chosen = [t for t in options.only if kind == "full" or PROGRAMS[t].quick is not None]
    table = Table("theme", "what", "measured", "goal, at most", "")
    for theme in chosen:
        for what, value, limit in goals(measure(theme, kind)):
            met = "" if limit is None else "met" if value <= limit else "missed"
            table.add_row(theme, what, f"{value:.2f}", "" if limit is None else f"{limit:.2f}", met)
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
