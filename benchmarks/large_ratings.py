"""Seconds and peak memory for ratings as many as MovieLens 25M: reading, splitting, one epoch.

python -m benchmarks.large_ratings                       # 25,000,000 ratings, several minutes
python -m benchmarks.large_ratings --ratings 1000000

Writes ratings.csv and movies.csv in the layout of ml-25m to a temporary folder, and deletes them.
Every measurement is a fresh process; its peak is what `getrusage` says of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import CONSOLE, Timed, save, scratch

_ROOT = Path(__file__).resolve().parent.parent


def generate(folder: Path, ratings: int, users: int, items: int) -> None:
    """Writes distinct pairs, sorted by user and film as in the original, popular ones more often.

    Args:
        folder: where to write.
        ratings: number of rows.
        users: ids are from 1 to this.
        items: likewise; each is in movies.csv.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(0)
    pairs = np.empty(0, np.int64)
    while len(pairs) < ratings:
        count = int((ratings - len(pairs)) * 1.3) + 1000
        user = (users * rng.random(count) ** 1.5).astype(np.int64)
        item = (items * rng.random(count) ** 2).astype(np.int64)
        pairs = np.unique(np.concatenate([pairs, user * items + item]))
    pairs = np.sort(rng.permutation(pairs)[:ratings])
    columns = {
        "userId": pairs // items + 1,
        "movieId": pairs % items + 1,
        "rating": rng.integers(1, 11, ratings) / 2,
        "timestamp": rng.integers(800_000_000, 1_600_000_000, ratings),
    }
    csv.write_csv(pa.table(columns), folder / "ratings.csv")
    with (folder / "movies.csv").open("w") as file:
        file.write("movieId,title,genres\n")
        file.writelines(f"{k},Film {k} ({1900 + k % 120}),Drama\n" for k in range(1, items + 1))


def load_alone(folder: Path, batch_size: int) -> dict[str, Any]:
    """Reads the ratings."""
    from raysweep.data.ratings.movielens import load

    start = time.perf_counter()
    ratings = load(folder)
    return {"load_s": time.perf_counter() - start, "rows": len(ratings.interactions)}


def load_and_train(folder: Path, batch_size: int) -> dict[str, Any]:
    """Reads and splits them as a search does, then trains and validates one epoch."""
    from raysweep.trainables import get_learner
    from raysweep.trainables.trainer import Trainer

    learner_class = get_learner("matrix_factorization")
    start = time.perf_counter()
    dataset = learner_class.load_data(learner_class.data_class.create({"dataset": str(folder)}))
    loaded = time.perf_counter()
    peak = _peak_mib()
    config = learner_class.config_class.create({"epochs": 1, "batch_size": batch_size})
    result = Trainer(learner_class(config, dataset.arrays)).run_epoch()
    return {
        "load_and_split_s": loaded - start,
        "load_and_split_peak_mib": peak,
        "epoch_s": time.perf_counter() - loaded,
        "rows": len(dataset.arrays["train_rating"]),
        "val_rmse": result["val_rmse"],
    }


STAGES = ("generate", "load", "train")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _stage(options: argparse.Namespace) -> None:
    """What a child process does: one stage, answered in JSON."""
    answer: dict[str, Any] = {}
    if options.stage == "generate":
        generate(options.folder, options.ratings, options.users, options.items)
    else:
        measure = load_alone if options.stage == "load" else load_and_train
        answer = measure(options.folder, options.batch_size)
    print(json.dumps({**answer, "peak_mib": _peak_mib()}))


def _child(stage: str, folder: Path, options: argparse.Namespace) -> Timed:
    # A child's ru_maxrss starts at its parent's: this process must stay small.
    sizes = ("ratings", "users", "items", "batch_size")
    flags = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in sizes]
    command = [sys.executable, "-m", "benchmarks.large_ratings", *flags]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--stage", stage, "--folder", str(folder)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - start
    CONSOLE.print(f"{stage}: {seconds:.1f} s", style="dim")
    return Timed(seconds, json.loads(done.stdout.splitlines()[-1]), (0.0, 0.0))


def _show(runs: dict[str, Timed]) -> None:
    load, train = runs["load"].answer, runs["train"].answer
    table = Table("step", "rows", "seconds", "peak RSS so far")
    rows = [
        ("load", load["rows"], load["load_s"], load["peak_mib"]),
        (
            "load + split",
            load["rows"],
            train["load_and_split_s"],
            train["load_and_split_peak_mib"],
        ),
        ("… + one epoch", train["rows"], train["epoch_s"], train["peak_mib"]),
    ]
    for name, count, seconds, peak in rows:
        table.add_row(name, f"{count:,}", f"{seconds:.1f}", f"{peak:,.0f} MiB")
    CONSOLE.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Generates, measures in fresh processes, prints and deletes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ratings", type=int, default=25_000_000)
    parser.add_argument("--users", type=int, default=162_000)
    parser.add_argument("--items", type=int, default=59_000)
    parser.add_argument("--batch-size", type=int, default=65_536)
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stage:
        _stage(options)
        return
    with scratch() as folder:
        runs = {stage: _child(stage, folder, options) for stage in STAGES}
        size = (folder / "ratings.csv").stat().st_size
    _show(runs)
    sizes = {name: getattr(options, name) for name in ("ratings", "users", "items", "batch_size")}
    record = {"configuration": {**sizes, "bytes": size}}
    save(options.json, record, {name: [one] for name, one in runs.items()})


if __name__ == "__main__":
    main()
