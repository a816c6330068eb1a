"""How long the searcher that reads curves takes to decide, as trials become many.

    python -m benchmarks.search_quality.decisions                  # up to 1,000 trials; a minute
    python -m benchmarks.search_quality.decisions --trials 10000   # half an hour

Eight settings, 50 epochs, made-up curves; one trial at a time, one thread, no ledger.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import CONSOLE, save, verdict
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.search import CurveSearch

_MAX_T, _NUM_SETTINGS = 50, 8
_MARKS = (50, 200, 1000, 3000, 10_000)
_MEDIAN_S, _WORST_S, _GOAL_TRIALS = 0.05, 0.3, 1000


def _suggest(trial: Any) -> dict[str, Any]:
    return {f"x{k}": trial.suggest_float(f"x{k}", 0, 1) for k in range(_NUM_SETTINGS)}


def measure(num_trials: int) -> list[tuple[int, float]]:
    """Decides until so many trials were started; trials so far and seconds, for each decision."""
    rng = np.random.default_rng(0)
    best, weights = rng.random(_NUM_SETTINGS), rng.uniform(0.1, 1, _NUM_SETTINGS)
    search = CurveSearch(Encoder(_suggest, 0), 0, "max", _MAX_T)
    heights: list[float] = []
    taken: list[tuple[int, float]] = []
    while len(heights) < num_trials:
        start = time.perf_counter()
        decision = search.decide()
        taken.append((len(heights), time.perf_counter() - start))
        assert decision is not None, "there is always more to try"
        if decision.trial is None:
            assert decision.proposal is not None
            index, place = len(heights), np.array(list(decision.proposal.params.values()))
            heights.append(float(1 - weights @ (place - best) ** 2 + 0.02 * rng.normal()))
            search.start(index, decision.proposal.params, decision.theta)
        else:
            index = decision.trial
            search.resume(index, decision.theta)
        for epoch in range(search.epoch(index) + 1, decision.target + 1):
            search.report(index, epoch, heights[index] * (1 - 0.9**epoch))
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=_GOAL_TRIALS, help="1000 by default")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    taken = measure(options.trials)
    table = Table("trials so far", "median, ms", "worst, ms")
    rows: list[dict[str, float]] = []
    before = 0
    for mark in (*(m for m in _MARKS if m < options.trials), options.trials):
        seconds = [s for trials, s in taken if before <= trials < mark]
        if not seconds:
            continue
        row = {"trials": mark, "median_s": float(np.median(seconds)), "worst_s": max(seconds)}
        rows.append(row)
        table.add_row(
            f"{before} to {mark}", f"{1e3 * row['median_s']:.0f}", f"{1e3 * row['worst_s']:.0f}"
        )
        before = mark
    CONSOLE.print(table)
    few = [seconds for trials, seconds in taken if trials < _GOAL_TRIALS]
    goals = [
        verdict("median seconds of a decision, to 1,000 trials", float(np.median(few)), _MEDIAN_S),
        verdict("longest decision, seconds, to 1,000 trials", max(few), _WORST_S),
    ]
    save(options.json, {"rows": rows, "goals": goals}, {})


if __name__ == "__main__":
    main()
