"""Work for other processes, which start fresh as a trial's do; `worker` is what runs in them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysweep.cluster.check.compare import Epoch
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint

__all__ = ["ANSWER", "ERROR", "GROUP", "JOB", "OUTPUT", "STATE", "Answer", "Job", "Workers"]

ANSWER, STATE = "answer.safetensors", "state.safetensors"
ERROR, JOB, GROUP, OUTPUT = "error.txt", "job", "group", "output.txt"


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


class Workers:
    """Starts processes for jobs, each forked from one that has imported PyTorch and nothing else.

    So they are as fresh as new ones, and seconds sooner there.
    """

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Workers]:
        """Yields them; ends all processes at last."""
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("PYTHONHASHSEED", None)  # the order of a set differs, as it may elsewhere
        server = subprocess.Popen(
            [sys.executable, "-m", "raysweep.cluster.check.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield cls(server)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.communicate()

    def run(
        self,
        jobs: Sequence[Job],
        *,
        dumps: Any = pickle.dumps,
        cwd: Path | None = None,
        path: Sequence[str] | None = None,
    ) -> list[Answer]:
        """Does jobs, all at the same time, and waits for them.

        Args:
            jobs: what to do.
            dumps: writes a job as bytes; cloudpickle's writes code along.
            cwd: the folder that they start in; this process's by default.
            path: where they look for modules; as this process does by default.
        """
        places = [entry or str(Path.cwd()) for entry in sys.path] if path is None else list(path)
        for job in jobs:
            (job.folder / JOB).write_bytes(dumps(job))
        told = {
            "folders": [str(job.folder) for job in jobs],
            "cwd": str(cwd or Path.cwd()),
            "path": places,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(told) + "\n")
        self._server.stdin.flush()
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("no other process can be started; its output is above")
        codes = json.loads(line)
        return [_answer(job, code) for job, code in zip(jobs, codes, strict=True)]


def _answer(job: Job, code: int) -> Answer:
    epoch, error = None, ""
    if (job.folder / ANSWER).exists():
        state, header = checkpoint.load(Storage(job.folder), ANSWER)
        epoch = Epoch(header["result"], state)
    if (job.folder / ERROR).exists():
        error = (job.folder / ERROR).read_text()
    elif code and not (code == -signal.SIGKILL and job.kill):
        lines = (job.folder / OUTPUT).read_text(errors="replace").strip().splitlines()
        error = lines[-1] if lines else f"the process ended with {code}"
    return Answer(epoch, error, code, job.folder)
