"""One of several processes that train the same models; `test_parallel` starts them.

python parallel_worker.py JOBS RANK NUM_WORKERS
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist

from raysweep.trainables import get_learner
from raysweep.trainables.learner import Learner
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.trainer import Trainer


def build(job: dict[str, Any]) -> Learner[Any]:
    learner_class = get_learner(job["family"])
    return learner_class(learner_class.config_class.create(job["fields"]), job["arrays"])


def train(learner: Learner[Any], parallel: Parallel | None) -> dict[str, Any]:
    trainer = Trainer(learner, parallel)
    results = [trainer.run_epoch() for _ in range(learner.config.epochs)]
    return {"results": results, "weights": learner.model.state_dict()}


def main(path: str, rank: int, num_workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{path}.group", rank=rank, world_size=num_workers
    )
    jobs = torch.load(path, weights_only=False)
    answers = {
        (name, overlap): train(build(job), Parallel(overlap))
        for name, job in jobs.items()
        for overlap in (False, True)
    }
    torch.save(answers, f"{path}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
