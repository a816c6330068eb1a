"""A wheel that is built from a copy of the checkout, and an environment that has installed it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("analysis", "cluster", "core", "data", "search_spaces", "trainables")


def copy_checkout(to: Path) -> Path:
    """What a build reads, without the remains of earlier builds."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("raysweep", *FOLDERS):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    return to


def build_wheel(source: Path, folder: Path) -> Path:
    """Builds it with the setuptools that is installed, so that no network is needed."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    pip = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment with raysweep from a wheel and everything else from this one."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(
        self, *command: str, folder: Path, pythonpath: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as a user would, whose shell knows nothing of this test."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        if pythonpath is not None:
            environment["PYTHONPATH"] = str(pythonpath)
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = copy_checkout(tmp_path_factory.mktemp("checkout"))
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"))
    venv.create(environment.folder, symlinks=True)
    (packages,) = environment.folder.glob("lib/python*/site-packages")
    # A line that is a path is searched, and .pth files there are not read: not the one by which
    # an editable install of raysweep is found.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("\n".join(others))
    pip = [sys.executable, "-m", "pip", "--python", environment.python, "install", "--quiet"]
    pip += ["--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run(pip, check=True)
    return environment
