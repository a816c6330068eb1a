"""Does a trial cost more when there are many? Seconds that the first 100 and that all 2,000 added.

python -m benchmarks.overheads.many_trials                     # 1, 2 and 4 simulated nodes; an hour
python -m benchmarks.overheads.many_trials --nodes 1 --trials 20 200

Trials of one epoch on 2,000 generated ratings, one a node at a time. What a trial adds is the time
from the search's first look at its ledger until so many trials have ended, less their training,
by their number. The driver's CPU seconds beside it depend less on what else the machine does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import CONSOLE, Contestant, Timed, run, save, scratch, verdict
from benchmarks.problem import prepare

_GOAL_RATIO, _GOAL_MIB = 1.5, 60.0
_MIB = 2**20


def added(answer: dict[str, Any], trials: int, nodes: int) -> dict[str, float]:
    """What each of the first so many trials added.

    Args:
        answer: of `benchmarks.contestants.simulated_cluster`.
        trials: how many.
        nodes: each trains one trial at a time.

    Returns:
        seconds and the driver's CPU seconds a trial, and the driver's memory after them in MiB.
    """
    looks = answer["looks"]
    # From the end of the first trial: what was before it is the start of Ray and of the workers.
    first = next(row for row in looks if row[0] >= 1)
    last = next(row for row in looks if row[0] >= trials)
    number = last[0] - first[0]
    training = answer["compute_s"] / answer["num_trials"] / nodes
    return {
        "seconds": (last[1] - first[1]) / number - training,
        "driver_cpu_s": (last[2] - first[2]) / number,
        "driver_mib": last[3] / _MIB,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a long search for each number of nodes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs=2, default=(100, 2000), metavar=("FEW", "MANY"))
    parser.add_argument("--nodes", type=int, nargs="+", default=(1, 2, 4))
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    few, many = options.trials
    table = Table("nodes", "trials", "added, s a trial", "driver, CPU s a trial", "driver, MiB")
    runs: dict[str, list[Timed]] = {}
    goals: list[dict[str, Any]] = []
    with scratch() as folder:
        prepare(folder, trials=many, epochs=1, tiny=True)
        for nodes in options.nodes:
            name = f"{nodes} nodes"
            size = ("--trials", str(many), "--nodes", str(nodes))
            module = "benchmarks.contestants.simulated_cluster"
            runs[name] = [run(Contestant(name, module, size), folder)]
            figures = {n: added(runs[name][0].answer, n, nodes) for n in (few, many)}
            for trials, values in figures.items():
                cells = (f"{values['seconds']:.3f}", f"{values['driver_cpu_s']:.4f}")
                table.add_row(str(nodes), str(trials), *cells, f"{values['driver_mib']:.0f}")
            ratio = figures[many]["seconds"] / figures[few]["seconds"]
            growth = figures[many]["driver_mib"] - figures[few]["driver_mib"]
            goals.append(verdict(f"{name}: seconds a trial, {many} : {few}", ratio, _GOAL_RATIO))
            goals.append(verdict(f"{name}: driver's growth", growth, _GOAL_MIB, " MiB"))
    CONSOLE.print(table)
    save(options.json, {"trials": options.trials, "goals": goals}, runs)


if __name__ == "__main__":
    main()
