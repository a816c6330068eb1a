"""Real Ray, small: one session of two CPUs for all tests of a module, and data of a few hundred."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)
from tests.helpers import write_ratings

# A shell has what runs in its background ignore Ctrl-C; the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    from raysweep.cluster.machines.session import ray_session

    with ray_session(num_cpus=2) as module:
        yield module


@pytest.fixture(scope="module")
def nothing_is_left_behind() -> Iterator[None]:
    """Kills what the commands of a module started and left, when its tests are over."""
    yield
    for process in psutil.Process().children(recursive=True):
        process.kill()


@pytest.fixture(scope="session")
def ratings_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")


@pytest.fixture
def write_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes modules of a user's into the folder that the test then works in; forgotten after it.

    Yields:
        a function that takes the text of each by its name, and returns the folder.
    """
    written: set[str] = set()

    def write(**modules: str) -> Path:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        written.update(modules)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    path = list(sys.path)
    yield write
    sys.path[:] = path
    for name in written:
        sys.modules.pop(name, None)
