"""Work for other processes, which start fresh as a trial's do; `worker` is what runs in them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysweep.cluster.check.compare import Epoch
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint

__all__ = ["ANSWER", "ERROR", "STATE", "Answer", "Job", "run_jobs"]

ANSWER, STATE = "answer.safetensors", "state.safetensors"
ERROR, JOB, GROUP = "error.txt", "job", "group"


@dataclass(frozen=True)
class Job:
    """An epoch to train in another process.

    Attributes:
        folder: for what the process is told and what it answers.
        learner: the target that names the class, or the class itself.
        config: its fields.
        arrays: the data.
        device: "cpu" or "cuda".
        max_batches: that the epoch is cut to.
        state: a folder with a state to start from.
        kill: whether the process kills itself when it has written its state.
        rank: its number among those that share each batch.
        num_workers: how many these are.
        no_dropout: whether dropout layers drop nothing.
    """

    folder: Path
    learner: Any
    config: dict[str, Any]
    arrays: dict[str, Any]
    device: str = "cpu"
    max_batches: int | None = None
    state: Path | None = None
    kill: bool = False
    rank: int = 0
    num_workers: int = 1
    no_dropout: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a job.

    Attributes:
        epoch: what was trained; None where that failed.
        error: why anything failed, on one line.
        code: the process's exit code; -9 for one that was killed.
        folder: of the job.
    """

    epoch: Epoch | None
    error: str
    code: int
    folder: Path


def run_jobs(
    jobs: Sequence[Job],
    *,
    dumps: Any = pickle.dumps,
    cwd: Path | None = None,
    path: Sequence[str] | None = None,
) -> list[Answer]:
    """Starts a process for each job, all at the same time, and waits for them.

    Args:
        jobs: what to do.
        dumps: writes a job as bytes; cloudpickle's writes code along.
        cwd: the folder that they start in; this process's by default.
        path: where they look for modules; as this process does by default.
    """
    given = [entry or str(Path.cwd()) for entry in sys.path] if path is None else path
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(given)}
    processes = []
    for job in jobs:
        (job.folder / JOB).write_bytes(dumps(job))
        with (job.folder / "output.txt").open("wb") as output:
            command = [sys.executable, "-m", "raysweep.cluster.check.worker", str(job.folder)]
            processes.append(
                subprocess.Popen(
                    command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
                )
            )
    try:
        return [_answer(job, process.wait()) for job, process in zip(jobs, processes, strict=True)]
    finally:
        for process in processes:
            process.kill()


def _answer(job: Job, code: int) -> Answer:
    epoch, error = None, ""
    if (job.folder / ANSWER).exists():
        state, header = checkpoint.load(Storage(job.folder), ANSWER)
        epoch = Epoch(header["result"], state)
    if (job.folder / ERROR).exists():
        error = (job.folder / ERROR).read_text()
    elif code and not (code == -9 and job.kill):
        lines = (job.folder / "output.txt").read_text(errors="replace").strip().splitlines()
        error = lines[-1] if lines else f"the process ended with {code}"
    return Answer(epoch, error, code, job.folder)
