"""The search by raysweep, as `raysweep tune matrix_factorization l2 embedding_size` does it.

python -m benchmarks.contestants.raysweep_search FOLDER
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks import problem
from benchmarks.contestants.protocol import answer, options
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.run import run_search
from raysweep.core.storage import Storage


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches and answers."""
    given = options(__doc__, arguments)
    task = problem.read(given.folder)
    request = SearchRequest(
        task=problem.TASK,
        spaces=problem.SPACES,
        settings={"epochs": task.epochs},
        data={"dataset": task.dataset},
        searcher="random",
        scheduler="none",
        num_samples=given.trials or len(task.points),
        seed=task.seed,
    ).checked()
    start = time.perf_counter()
    storage = Storage(given.folder / "run")
    how = RunOptions(max_concurrent=given.concurrency, pack="off", quiet=True)
    result = run_search(request, storage, how)
    trials = list(result.ledger)
    # In another order: the longest start first.
    expected = task.points[: len(trials)]
    if any(t.config not in expected for t in trials) or len(trials) != len(expected):
        raise RuntimeError("raysweep searched other configurations than the others were given")
    best = result.ledger.ranked()[0].best(request.metric, request.mode)
    assert best is not None
    answer(
        best_val_rmse=best["val_rmse"],
        num_trials=len(trials),
        num_epochs=sum(t.epoch for t in trials),
        search_s=time.perf_counter() - start,
        compute_s=sum(epoch["time_epoch_s"] for t in trials for epoch in t.history),
    )


if __name__ == "__main__":
    main()
