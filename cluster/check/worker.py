"""Other processes of a check: `python -m raysweep.cluster.check.worker` forks one for each job.

It reads lines of JSON: the jobs' folders, the folder to start in, and where modules are. When all
of them are done it answers with their exit codes, on one line.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch  # noqa: F401  (once for all that are forked)
import torch
import torch.distributed as dist

from raysweep.cluster.check.compare import explain, weights_of
from raysweep.cluster.check.jobs import (
    ANSWER,
    ERROR,
    GROUP,
    JOB,
    OUTPUT,
    STATE,
    Job,
    shorten,
    without_dropout,
)
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint, get_learner
from raysweep.trainables.learner import Learner
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.user.tensors import TensorLearner  # noqa: F401  (likewise)

__all__ = ["main"]

_PATIENCE = timedelta(minutes=2)  # with another process that shares a batch


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
            timeout=_PATIENCE,
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


def _do(folder: Path) -> int:
    """Does the job in a folder; an error is left there in words. Returns the exit code."""
    torch.set_num_threads(1)
    try:
        # What the check has written a moment ago.
        job: Job = pickle.loads((folder / JOB).read_bytes())
        if job.trains:
            _work(job)
    except Exception as error:
        (folder / ERROR).write_text(explain(error))
        return 1
    return 0


def _child(folder: Path, cwd: str, path: list[str]) -> NoReturn:
    """The forked process: it speaks to a file, and is where it was told to be."""
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(output, number)
    os.chdir(cwd)
    sys.path[:] = path
    code = 1
    try:
        code = _do(folder)
        sys.stdout.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Serves until its input ends."""
    for line in sys.stdin:
        told = json.loads(line)
        children = []
        for folder in told["folders"]:
            child = os.fork()
            if not child:
                _child(Path(folder), told["cwd"], told["path"])
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()
