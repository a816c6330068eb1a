"""What any search on Ray and PyTorch must at least start: a floor, which trains nothing.

A driver and two actors that import PyTorch and Ray Tune, in a session without a dashboard. The
driver imports PyTorch before it starts Ray: without it, it could not tell a wrong name, or a run
that is finished, for which nothing is to be started.

python -m benchmarks.contestants.bare_ray FOLDER
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import ray
import torch

from benchmarks.contestants.protocol import options


@ray.remote(num_cpus=1)
class _Worker:
    def start(self) -> int:
        """Imports what a trial needs, and makes one call of each."""
        return _use()


def _use() -> int:
    from ray import tune

    assert tune.Trainable
    return int(torch.ones(1).sum())


def main() -> None:
    """Starts it all and says so."""
    folder: Path = options(__doc__, None).folder
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    workers = [_Worker.remote() for _ in range(2)]
    waiting = [worker.start.remote() for worker in workers]
    _use()
    (folder / "ready.json").write_text(json.dumps({"no_rmse": sum(ray.get(waiting))}))
    print(json.dumps({"workers": len(workers)}))


if __name__ == "__main__":
    main()
