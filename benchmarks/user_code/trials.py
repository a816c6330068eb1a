"""Many trials of a function that does nothing, or sleeps: by raysweep, or by Ray Tune alone.

python -m benchmarks.user_code.trials FOLDER --by raysweep --trials 100
python -m benchmarks.user_code.trials FOLDER --by ray_tune --trials 100 --slots 16 --seconds 1

Started once more in the same folder, raysweep goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.contestants.protocol import answer

SPACE = {"x": tune.uniform(0, 1)}
_HERE = "benchmarks.user_code.trials"


def empty(config: dict[str, Any]) -> None:
    """Nothing but a report."""
    tune.report({"x": config["x"]})


def sleep(config: dict[str, Any]) -> None:
    """A second, as a trial of Ray's own test of its bookkeeping takes."""
    time.sleep(1.0)
    tune.report({"x": config["x"]})


class Ends(tune.Callback):
    """Notes when each trial ends.

    Attributes:
        times: by the clock of this process, seconds.
    """

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes one."""
        self.times.append(time.perf_counter())


def by_raysweep(given: argparse.Namespace, ends: Ends) -> str:
    """Searches with raysweep; returns a hash of its table, times left out."""
    import raysweep
    from raysweep.cluster.machines.session import ray_session

    plain = {} if given.searcher == "tpe" else {"searcher": "random", "scheduler": "none"}
    with ray_session(num_cpus=given.slots):
        run = raysweep.tune(
            f"{_HERE}:{given.function}",
            f"{_HERE}:SPACE",
            metric="x",
            mode="min",
            num_samples=given.trials,
            name="trials",
            storage=given.folder / "runs",
            callbacks=[ends],
            **plain,
        )
    rows = run.trials[["trial", "status", "epochs", "x", "config.x"]].to_numpy().tolist()
    if [row[0] for row in rows] != list(range(given.trials)) or not run.complete:
        raise RuntimeError(f"{len(rows)} trials in the table, and not {given.trials} once each")
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def by_ray_tune(given: argparse.Namespace, ends: Ends) -> str:
    """Searches with Ray Tune as its documentation does; returns nothing of interest."""
    import ray

    ray.init(num_cpus=given.slots)
    tuner = tune.Tuner(
        {"empty": empty, "sleep": sleep}[given.function],
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="x", mode="min", num_samples=given.trials, reuse_actors=given.reuse
        ),
        run_config=tune.RunConfig(storage_path=str(given.folder.resolve()), callbacks=[ends]),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    return ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches and answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", choices=("raysweep", "ray_tune"), required=True)
    parser.add_argument("--function", choices=("empty", "sleep"), default="empty")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--slots", type=int, help="trials at a time; the machine's cores if absent")
    parser.add_argument("--searcher", choices=("tpe", "random"), default="random")
    parser.add_argument("--reuse", action="store_true", help="Ray Tune's processes")
    given = parser.parse_args(arguments)
    ends = Ends()
    start = time.perf_counter()
    table = (by_raysweep if given.by == "raysweep" else by_ray_tune)(given, ends)
    times = ends.times
    answer(
        num_trials=len(times),
        search_s=time.perf_counter() - start,
        # From the end of the first trial: what was before is the start of Ray and its workers.
        trial_s=(times[-1] - times[0]) / (len(times) - 1),
        table=table,
    )


if __name__ == "__main__":
    main()
