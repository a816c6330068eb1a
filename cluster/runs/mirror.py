"""A run in an object store, for TensorBoard: a copy on this machine that follows the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from raysweep.core.storage import Storage

__all__ = ["Mirror", "serve"]

_PERIOD_S = 5.0
# What TensorBoard reads: curves, HParams and figures, and the projector's files.
_SHOWN = (".tsv", ".pbtxt", ".sprites.png")


class Mirror:
    """Copies of the files that TensorBoard shows.

    Args:
        storage: the run's folder.
        folder: an empty folder on this machine.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._known: dict[str, tuple[int, int]] = {}

    def update(self) -> int:
        """Copies what is new or has changed; returns how many files that were.

        Raises:
            OSError: the store does not answer.
        """
        copied = 0
        for name, state in self._storage.states().items():
            shown = "tfevents" in name or name.endswith(_SHOWN)
            if not shown or self._known.get(name) == state:
                continue
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                _bring_up_to_date(self._folder / name, self._storage.read(name))
                self._known[name] = state
                copied += 1
        return copied


def _bring_up_to_date(path: Path, content: bytes) -> None:
    """Appends what a file lacks, where it can: TensorBoard goes on reading where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_bytes() if path.exists() else b""
    if content.startswith(old):
        with path.open("ab") as file:
            file.write(content[len(old) :])
    else:
        Storage(path.parent).write(path.name, content)


def serve(storage: Storage, port: int) -> int:
    """Runs TensorBoard on this machine until it is stopped; returns its exit code.

    Args:
        storage: a run's folder. One in an object store is mirrored, and the mirror follows it.
        port: where TensorBoard listens, on 127.0.0.1.
    """
    command = [sys.executable, "-m", "tensorboard.main", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--logdir"]
    if storage.local is not None:
        os.execv(sys.executable, [*command, str(storage.local)])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as at Ctrl-C, leave nothing behind
    with tempfile.TemporaryDirectory(prefix="raysweep-") as scratch:
        mirror = Mirror(storage, Path(scratch))
        mirror.update()
        process = subprocess.Popen([*command, scratch])
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(_PERIOD_S)
                try:
                    mirror.update()
                except OSError as error:
                    print(f"{error}; what is here is shown, and asked for again", file=sys.stderr)
        finally:
            process.terminate()
            process.wait()
