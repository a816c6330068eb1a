"""Seconds that a trial costs besides its training: raysweep, and Ray Tune with its defaults.

python -m benchmarks.overheads.trial_overhead                  # 20 and 60 trials, 1 and 2 at a time
python -m benchmarks.overheads.trial_overhead --trials 10 30

Trials of one epoch on 2,000 generated ratings. Two searches of different length have the same
start and end, so the difference of their times is that of the further trials alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import CONSOLE, Contestant, Timed, in_turns, save, scratch, spread, verdict
from benchmarks.problem import prepare
from benchmarks.ratings_search import RAY_TUNE, RAYSWEEP

_GOAL_S = 0.15


def overheads(short: Sequence[Timed], long: Sequence[Timed], concurrency: int) -> list[float]:
    """Seconds a trial, round by round: the slope of the search's time, less the compute."""
    seconds = []
    for a, b in zip(short, long, strict=True):
        trials = b.answer["num_trials"] - a.answer["num_trials"]
        slope = (b.answer["search_s"] - a.answer["search_s"]) / trials
        compute = (b.answer["compute_s"] - a.answer["compute_s"]) / trials
        seconds.append(slope - compute / concurrency)
    return seconds


def variant(base: Contestant, trials: int, concurrency: int) -> Contestant:
    """The contestant with so many trials, so many at a time."""
    return dataclasses.replace(
        base,
        name=f"{base.name.partition(',')[0]}, {concurrency} at a time, {trials} trials",
        arguments=("--trials", str(trials), "--concurrency", str(concurrency)),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures both, with one and with two trials at a time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs=2, default=(20, 60), metavar=("FEW", "MANY"))
    parser.add_argument("--concurrency", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only-raysweep", action="store_true")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    bases = [RAYSWEEP] if options.only_raysweep else [RAYSWEEP, RAY_TUNE]
    table = Table("contestant", "trials at a time", "overhead, s a trial")
    runs: dict[str, list[Timed]] = {}
    goals: list[dict[str, Any]] = []
    with scratch() as folder:
        prepare(folder, trials=max(options.trials), epochs=1, tiny=True)
        for concurrency in options.concurrency:
            pairs = [[variant(b, n, concurrency) for n in options.trials] for b in bases]
            runs |= in_turns([one for pair in pairs for one in pair], folder, options.repeats)
            for base, (few, many) in zip(bases, pairs, strict=True):
                seconds = overheads(runs[few.name], runs[many.name], concurrency)
                table.add_row(many.name.partition(",")[0], str(concurrency), spread(seconds))
                if base is RAYSWEEP:
                    name = f"overhead of raysweep, {concurrency} at a time"
                    goals.append({"name": name, "value": statistics.median(seconds)})
    CONSOLE.print(table)
    record = [verdict(goal["name"], goal["value"], _GOAL_S, " s a trial") for goal in goals]
    configuration = {"trials": options.trials, "concurrency": options.concurrency}
    save(options.json, {"configuration": configuration, "goals": record}, runs)


if __name__ == "__main__":
    main()
