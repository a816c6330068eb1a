"""Wall-clock of one whole search: raysweep, Ray Tune as in the tutorial, Optuna, Surprise.

python -m benchmarks.ratings_search                  # 40 trials x 10 epochs, 3 rounds
python -m benchmarks.ratings_search --quick          # 6 trials x 2 epochs, 1 round

MovieLens 100k, the same configurations, maths and batch size for all; see benchmarks/README.md.
Surprise searches a grid of as many configurations of its own SVD, for as many epochs each.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import (
    CONSOLE,
    RIVALS,
    Contestant,
    Run,
    in_turns,
    pairwise,
    save,
    scratch,
    spread,
    verdict,
)
from benchmarks.problem import prepare

RAYSWEEP = Contestant("raysweep", "benchmarks.contestants.raysweep_search")
# A session of its own, even where a cluster runs on this machine.
_LOCAL = {"RAY_ADDRESS": "local"}
RAY_TUNE = Contestant("Ray Tune, loader in process", "benchmarks.contestants.ray_tune", (), _LOCAL)
TUTORIAL = Contestant(
    "Ray Tune, tutorial's 8 loader workers",
    "benchmarks.contestants.ray_tune",
    ("--num-workers", "8"),
    _LOCAL,
)
OPTUNA = Contestant("Optuna alone", "benchmarks.contestants.optuna_alone")
SURPRISE = Contestant(
    "Surprise's grid search", "benchmarks.contestants.surprise_grid", python=RIVALS
)
# At most this part of the other's time.
GOALS = {TUTORIAL.name: 1 / 4, RAY_TUNE.name: 1 / 4, OPTUNA.name: 0.5, SURPRISE.name: 1.0}
_TOLERANCE = 0.002


def check_answers(runs: Mapping[str, Sequence[Run]], trials: int, epochs: int) -> None:
    """Asserts that all did the same work and that raysweep found as good a model.

    Raises:
        AssertionError: a contestant left trials or epochs out, or raysweep's best is worse.
    """
    for name, those in runs.items():
        for one in those:
            done = (one.answer["num_trials"], one.answer["num_epochs"])
            assert done == (trials, trials * epochs), f"{name} did {done} trials and epochs"
    best = {name: min(r.answer["best_val_rmse"] for r in those) for name, those in runs.items()}
    ours = max(one.answer["best_val_rmse"] for one in runs[RAYSWEEP.name])
    for name, theirs in best.items():
        assert ours <= theirs + _TOLERANCE, f"raysweep's best is {ours:.4f}, {name}'s {theirs:.4f}"


def show(runs: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """Prints the table and whether goals are met; returns the goals."""
    table = Table("contestant", "seconds", "raysweep takes of it", "best val RMSE")
    ours = [one.seconds for one in runs[RAYSWEEP.name]]
    for name, those in runs.items():
        seconds = [one.seconds for one in those]
        rmse = [one.answer["best_val_rmse"] for one in those]
        table.add_row(
            name, spread(seconds, digits=1), spread(pairwise(ours, seconds)), spread(rmse, digits=4)
        )
    CONSOLE.print(table)
    goals = []
    for name, limit in GOALS.items():
        if name in runs:
            ratio = statistics.median(pairwise(ours, [one.seconds for one in runs[name]]))
            goals.append(verdict(f"time of raysweep by that of {name}", ratio, limit))
    return goals


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the contestants in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="6 trials x 2 epochs, one round")
    parser.add_argument("--without-tutorial-workers", action="store_true", help="leave it out")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.trials, options.epochs = 1, 6, 2
    contestants = [RAYSWEEP, TUTORIAL, RAY_TUNE, OPTUNA]
    if options.without_tutorial_workers:
        contestants.remove(TUTORIAL)
    if RIVALS.exists():
        contestants.append(SURPRISE)
    else:
        CONSOLE.print("Surprise is left out: `make rivals` installs it")
    with scratch() as folder:
        task = prepare(folder, trials=options.trials, epochs=options.epochs)
        runs = in_turns(contestants, folder, options.repeats)
    goals = show(runs)
    check_answers(runs, options.trials, options.epochs)
    record = {"configuration": {"trials": options.trials, "epochs": options.epochs}}
    save(options.json, {**record, "points": task.points, "goals": goals}, runs)


if __name__ == "__main__":
    main()
