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
from pathlib import Path
from typing import Any

from raysweep.cluster.check import worker
from raysweep.cluster.check.compare import Epoch
from raysweep.cluster.check.jobs import ANSWER, ERROR, JOB, OUTPUT, Answer, Job
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint

__all__ = ["Workers"]


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
            [sys.executable, "-m", worker.__name__],
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
