"""From start to the first epoch, and memory with two trials at a time, beside Ray Tune's defaults.

python -m benchmarks.overheads.starting --repeats 3

A search of four trials of one epoch on 2,000 generated ratings, in fresh processes, in turns. The
first epoch is there when a trial's result is in the run's files; looked for ten times a second.
Memory is the largest sum of PSS over all processes, Ray's own among them. The time of the
processor, of the whole tree until then, is shown as well: on a busy machine it is the fairer one.
A floor stands beside them: PyTorch, then Ray and two more processes that import both; no more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from benchmarks.harness import (
    CONSOLE,
    Contestant,
    Run,
    pairwise,
    run,
    save,
    scratch,
    spread,
    verdict,
)
from benchmarks.overheads.memory_growth import MemoryWatch
from benchmarks.problem import prepare
from benchmarks.ratings_search import RAY_TUNE, RAYSWEEP

_ARGUMENTS = ("--trials", "4", "--concurrency", "2")
_FLOOR = Contestant("floor", "benchmarks.contestants.bare_ray")
_RESULTS = {
    RAYSWEEP.name: "run/ledger.jsonl",
    RAY_TUNE.name: "ray_results/*/*/result.json",
    _FLOOR.name: "ready.json",
}
_FIGURES = {"first_epoch_s": "s", "first_epoch_processor_s": "s of processor", "memory_mib": "MiB"}
_GOAL = 0.5


class Watch:
    """Waits for the first epoch, and follows the memory.

    Attributes:
        figures: by the names of `_FIGURES`, once they are known.
    """

    def __init__(self, results: str) -> None:
        self.figures: dict[str, float] = {}
        self._results, self._memory = results, MemoryWatch()
        self._seen: dict[int, float] = {}
        self._looked = 0.0

    def __call__(self, process: psutil.Process) -> None:
        """Looks once."""
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                self._seen[member.pid] = sum(member.cpu_times()[:2])
        folder = process.cmdline()[3:4]  # Nothing yet in the first moments of a process.
        if "first_epoch_s" not in self.figures and folder and self._there(Path(folder[0])):
            self.figures["first_epoch_s"] = time.time() - process.create_time()
            self.figures["first_epoch_processor_s"] = sum(self._seen.values())
        if time.monotonic() - self._looked > 0.5:
            self._memory(process)
            self._looked = time.monotonic()
            self.figures["memory_mib"] = self._memory.peaks()["total_mib"]

    def _there(self, folder: Path) -> bool:
        return any('_rmse": ' in path.read_text() for path in folder.glob(self._results))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both in turns and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    contestants = [dataclasses.replace(c, arguments=_ARGUMENTS) for c in (RAYSWEEP, RAY_TUNE)]
    contestants.append(_FLOOR)
    figures: dict[str, list[dict[str, float]]] = {c.name: [] for c in contestants}
    runs: dict[str, list[Run]] = {c.name: [] for c in contestants}
    with scratch() as folder:
        prepare(folder, trials=4, epochs=1, tiny=True)
        for repeat in range(options.repeats):
            order: list[Contestant] = contestants if repeat % 2 == 0 else contestants[::-1]
            for contestant in order:
                watch = Watch(_RESULTS[contestant.name])
                runs[contestant.name].append(run(contestant, folder, watch, period=0.1))
                figures[contestant.name].append(watch.figures)
    table = Table("figure", *(c.name for c in contestants), "raysweep of Ray Tune", "floor of it")
    goals: list[dict[str, Any]] = []
    for name, unit in _FIGURES.items():
        columns = [[f[name] for f in figures[c.name]] for c in contestants]
        ours, theirs, floor = columns
        ratios = pairwise(ours, theirs)
        shown = [spread(column, digits=1) for column in columns]
        table.add_row(unit, *shown, spread(ratios), spread(pairwise(floor, theirs)))
        goals.append(verdict(name, statistics.median(ratios), _GOAL))
    CONSOLE.print(table)
    save(options.json, {"figures": figures, "goals": goals}, runs)


if __name__ == "__main__":
    main()
