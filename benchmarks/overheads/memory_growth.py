"""Does a longer search take more memory? Peaks of 100 and of 400 trials of raysweep.

python -m benchmarks.overheads.memory_growth                   # about a minute on a quiet machine
python -m benchmarks.overheads.memory_growth --trials 50 100

Trials of one epoch on 2,000 generated ratings. The driver's process and all below it (Ray's own
processes and the workers) are looked at twice a second; memory that processes share is divided
among them (PSS), so that the sum counts it once. The sum is shown but not judged: its peak is the
moment when Ray starts all its processes at once, and differs by tens of MiB from run to run.
A worker's own peak differs by as much, by how its allocator keeps free memory: repeat before you
believe a miss there. The driver's is steady to a few MiB.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.table import Table

from benchmarks.harness import CONSOLE, Timed, run, save, scratch, verdict
from benchmarks.problem import prepare
from benchmarks.ratings_search import RAYSWEEP

_MIB = 2**20
_GOAL_MIB = 4.0


class MemoryWatch:
    """Follows the memory of a process and of all below it.

    Attributes:
        driver: RSS of the process itself, bytes, at each look.
        worker: largest USS of a single worker process of Ray, bytes, at each look.
        total: sum of the PSS of all, bytes, at each look.
    """

    def __init__(self) -> None:
        self.driver: list[int] = []
        self.worker: list[int] = []
        self.total: list[int] = []

    def __call__(self, process: psutil.Process) -> None:
        """Looks once."""
        driver = process.memory_info().rss
        tree = [process, *process.children(recursive=True)]
        looks = [_look(each) for each in tree]
        self.driver.append(driver)
        self.worker.append(max((uss for _, uss, is_worker in looks if is_worker), default=0))
        self.total.append(sum(pss for pss, _, _ in looks))

    def peaks(self) -> dict[str, float]:
        """Largest values in MiB."""
        return {
            "driver_mib": max(self.driver) / _MIB,
            "worker_mib": max(self.worker) / _MIB,
            "total_mib": max(self.total) / _MIB,
        }


def _look(process: psutil.Process) -> tuple[int, int, bool]:
    """A process's PSS and USS in bytes, and whether it is a worker of Ray; 0 if it has ended."""
    try:
        memory = process.memory_full_info()
        title = process.cmdline()[:1]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0, 0, False
    return memory.pss, memory.uss, bool(title) and title[0].startswith("ray::")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs two searches and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs=2, default=(100, 400), metavar=("FEW", "MANY"))
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    table = Table("trials", "seconds", "driver, peak RSS", "worker, peak USS", "all, peak PSS")
    runs: dict[str, list[Timed]] = {}
    peaks: list[dict[str, float]] = []
    with scratch() as folder:
        prepare(folder, trials=max(options.trials), epochs=1, tiny=True)
        for trials in options.trials:
            name, watch = f"{trials} trials", MemoryWatch()
            contestant = dataclasses.replace(
                RAYSWEEP, name=name, arguments=("--trials", str(trials))
            )
            runs[name] = [run(contestant, folder, watch)]
            peaks.append(watch.peaks())
            values = [f"{value:.1f} MiB" for value in peaks[-1].values()]
            table.add_row(str(trials), f"{runs[name][0].seconds:.0f}", *values)
    CONSOLE.print(table)
    growth = {name: peaks[1][name] - peaks[0][name] for name in peaks[0]}
    more = f"from {options.trials[0]} to {options.trials[1]} trials"
    goals = [
        verdict(f"driver's growth {more}", growth["driver_mib"], _GOAL_MIB, " MiB"),
        verdict(f"largest worker's growth {more}", growth["worker_mib"], _GOAL_MIB, " MiB"),
    ]
    record = {"trials": options.trials, "peaks": peaks, "growth": growth, "goals": goals}
    save(options.json, record, runs)


if __name__ == "__main__":
    main()
