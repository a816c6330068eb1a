"""A searcher that runs in another environment, asked and told by lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import RIVALS
from benchmarks.search_quality.methods.base import Work
from benchmarks.search_quality.space import TaskSpace
from raysweep.core.errors import UserError

__all__ = ["RIVAL_METHODS", "Remote", "require_rivals"]

# Names with the packages that they come from.
RIVAL_METHODS = {"optuna": "optuna", "smac": "smac", "bohb": "syne_tune"}
_ROOT = Path(__file__).resolve().parents[3]


class Remote:
    """A searcher of `benchmarks.search_quality.rivals`, in a process of its own.

    Args:
        name: of `RIVAL_METHODS`.
        space: what is searched.
        seed: of its draws.
        max_t: T.
    """

    def __init__(self, name: str, space: TaskSpace, seed: int, max_t: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rsq-")
        self._errors = (Path(self._folder.name) / "errors").open("w+b")
        self._process = subprocess.Popen(
            [str(RIVALS), "-m", "benchmarks.search_quality.rivals.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._folder.name,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            text=True,
        )
        self._send(searcher=name, space=space.as_json(), seed=seed, max_t=max_t)

    def next(self) -> Work | None:
        """Asks for work."""
        self._send(do="next")
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._broken()
        answer = json.loads(line)
        return Work(**answer) if answer else None

    def started(self, trial: int, params: Mapping[str, Any]) -> None:
        """See `Method`."""
        self._send(do="started", trial=trial, params=dict(params))

    def report(self, trial: int, epoch: int, value: float) -> None:
        """See `Method`."""
        self._send(do="report", trial=trial, epoch=epoch, value=value)

    def arrived(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        self._send(do="arrived", trial=trial, epoch=epoch)

    def failed(self, trial: int, epoch: int) -> None:
        """See `Method`."""
        self._send(do="failed", trial=trial, epoch=epoch)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._broken()

    def _broken(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()[-20:]
        raise RuntimeError("\n".join(["a rival's process ended:", *lines]))


def require_rivals(names: list[str]) -> None:
    """Refuses searchers whose packages are not there.

    Raises:
        UserError: it says how to get them.
    """
    for package in sorted({RIVAL_METHODS[name] for name in names}):
        lines = "import sys, importlib.util as u; sys.exit(u.find_spec(sys.argv[1]) is None)"
        there = (
            RIVALS.exists() and not subprocess.run([str(RIVALS), "-c", lines, package]).returncode
        )
        if not there:
            raise UserError(f"{package} is not in .venv-rivals: `make rivals` installs it")
