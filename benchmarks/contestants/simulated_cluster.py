"""A long search on several simulated nodes, looked at while it runs.

python -m benchmarks.contestants.simulated_cluster FOLDER --trials 2000 --nodes 2

Each node is a raylet of its own with one CPU, on this machine; the head has none, as in the shipped
configurations.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks import problem
from benchmarks.contestants.protocol import answer
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.run import run_search
from raysweep.core.storage import Storage

_LOOK_S = 0.25


class Looks(threading.Thread):
    """Notes now and then how far the search is, and what its driver has taken.

    Attributes:
        rows: [ended trials, seconds, the driver's CPU seconds, its RSS in bytes], one a look.
    """

    def __init__(self, ledger: Path) -> None:
        super().__init__(daemon=True)
        self.rows: list[list[float]] = []
        self._ledger, self._ended, self._read = ledger, 0, 0
        self._over = threading.Event()

    def run(self) -> None:
        """Looks until `stop()`."""
        while not self._over.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        """Looks once."""
        process = psutil.Process()
        if self._ledger.exists():
            with self._ledger.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._ended += new.count(b'"event": "end"')
            cpu = process.cpu_times()
            rss = process.memory_info().rss
            self.rows.append([self._ended, time.perf_counter(), cpu.user + cpu.system, rss])

    def stop(self) -> None:
        """Ends the looking."""
        self._over.set()
        self.join()
        self.look()


@contextmanager
def simulated_nodes(number: int) -> Iterator[str]:
    """So many nodes with one CPU each and a head with none; yields their address."""
    import ray
    from ray.cluster_utils import Cluster

    # Not 127.0.0.1, in whose place Ray puts the address of the network card.
    each = {"object_store_memory": 200_000_000, "node_ip_address": "127.0.0.2"}
    head = {"num_cpus": 0, "include_dashboard": False, **each}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(number):
            cluster.add_node(num_cpus=1, **each)
        yield str(cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches and answers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    given = parser.parse_args(arguments)
    task = problem.read(given.folder)
    request = SearchRequest(
        task=problem.TASK,
        spaces=problem.SPACES,
        settings={"epochs": task.epochs},
        data={"dataset": task.dataset},
        searcher="random",
        scheduler="none",
        num_samples=given.trials,
        seed=task.seed,
    ).checked()
    storage = given.folder / "run"
    looks = Looks(storage / "ledger.jsonl")
    looks.start()
    with simulated_nodes(given.nodes) as address:
        result = run_search(
            request, Storage(storage), RunOptions(address=address, pack="off", quiet=True)
        )
    looks.stop()
    compute = sum(epoch["time_epoch_s"] for t in result.ledger for epoch in t.history)
    answer(num_trials=len(result.ledger), compute_s=compute, looks=looks.rows)


if __name__ == "__main__":
    main()
