"""What another process of a check does: `python -m raysweep.cluster.check.worker FOLDER`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from raysweep.cluster.check.compare import explain, weights_of
from raysweep.cluster.check.processes import ANSWER, ERROR, GROUP, JOB, STATE, Job
from raysweep.cluster.check.subject import shorten
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint, get_learner
from raysweep.trainables.learner import Learner
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.trainer import Trainer

__all__ = ["without_dropout"]


def without_dropout(learner: Learner[Any]) -> None:
    """Has a model's dropout layers drop nothing."""
    for layer in learner.model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0


def _build(job: Job) -> Learner[Any]:
    named = isinstance(job.learner, str)
    learner_class = get_learner(job.learner) if named else job.learner
    config = learner_class.config_class.create(job.config)
    learner: Learner[Any] = learner_class(config, job.arrays, job.device)
    shorten(learner, job.max_batches)
    if job.no_dropout:
        without_dropout(learner)
    return learner


def _work(job: Job) -> None:
    parallel = None
    if job.num_workers > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{job.folder.parent / GROUP}",
            rank=job.rank,
            world_size=job.num_workers,
        )
        parallel = Parallel(overlap=False)
    learner = _build(job)
    if job.state is not None:
        learner.load_state_dict(checkpoint.load(Storage(job.state), STATE)[0])
    result = Trainer(learner, parallel).run_epoch()
    own = Storage(job.folder)
    checkpoint.save(own, ANSWER, weights_of(learner.model), {"result": result})
    if job.kill:
        checkpoint.save(own, STATE, learner.state_dict(), {})
        os.kill(os.getpid(), signal.SIGKILL)
    if parallel is not None:
        dist.destroy_process_group()


def main(folder: Path) -> None:
    """Does the job in a folder; an error is left there in words."""
    torch.set_num_threads(1)
    try:
        # What this check's own process has written a moment ago.
        job: Job = pickle.loads((folder / JOB).read_bytes())
        _work(job)
    except Exception as error:
        (folder / ERROR).write_text(explain(error))
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
