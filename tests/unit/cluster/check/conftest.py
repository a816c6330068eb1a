"""A folder of the user's, and the processes of all checks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysweep.cluster.check.processes import Workers


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's, which is the current one."""
    (tmp_path / "own_classes.txt").write_text("3")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("own_net", None)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """The processes of all checks: those that they fork are fresh for each."""
    with Workers.start() as started:
        yield started
