"""Many searches in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.search_quality.clock import Outcome, seed_of, simulate
from benchmarks.search_quality.methods.base import Method
from benchmarks.search_quality.methods.curves import Curves
from benchmarks.search_quality.methods.registry import build
from benchmarks.search_quality.tasks import Source
from raysweep.cluster.search.curves.transfer import EarlierRun

__all__ = ["Search", "run_all"]

_Found = TypeVar("_Found", covariant=True)

# One thread each: the searches are what runs side by side.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes:
        curves: see `Source`.
        task: its name.
        method: see `build`.
        seed: of a task's searches.
        budget: in full trainings.
        workers: see `simulate`.
        noise: see `simulate`.
        recorded_seconds: see `simulate`.
        earlier: what `curves` learns from, under whatever name the method has here.
    """

    curves: Path
    task: str
    method: str
    seed: int
    budget: float
    workers: int = 1
    noise: float = 0.0
    recorded_seconds: bool = False
    earlier: tuple[EarlierRun, ...] = ()

    def run(self) -> Outcome:
        """Runs it in this process.

        Raises:
            RuntimeError: it broke; the message says which one.
        """
        try:
            return self._run()
        except Exception as error:
            which = f"{self.method} on {self.task}, seed {self.seed}"
            raise RuntimeError(f"{which}: {type(error).__name__}: {error}") from error

    def _run(self) -> Outcome:
        task = Source.at(self.curves).load(self.task)
        seed = seed_of(self.task, self.seed)
        method: Method
        if self.earlier:
            method = Curves(task.space, seed, task.max_t, self.earlier)
        else:
            method = build(self.method, task, seed)
        try:
            return simulate(
                task,
                method,
                num_epochs=round(self.budget * task.max_t),
                workers=self.workers,
                noise=self.noise,
                seed=seed,
                recorded_seconds=self.recorded_seconds,
            )
        finally:
            method.close()


class _Runs(Protocol[_Found]):
    def run(self) -> _Found: ...


def run_all(searches: Sequence[_Runs[_Found]], jobs: int) -> Iterator[tuple[int, _Found]]:
    """Runs searches side by side; yields each one's place in the sequence as it ends.

    Args:
        searches: in the order in which they start.
        jobs: processes.
    """
    kept = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context)
    try:
        places = {pool.submit(search.run): k for k, search in enumerate(searches)}
        for done in as_completed(places):
            yield places[done], done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
