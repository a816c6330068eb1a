"""A package of the user's that adds a trainable, a space and a dataset, installed from a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ROOT, build_wheel

pytestmark = pytest.mark.timeout(300)
Run = Callable[..., subprocess.CompletedProcess[str]]

_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "their-package"
version = "1.2"

[project.entry-points."raysweep.trainables"]
their_name = "their_package.net:Net"
sentiment = "their_package.net:Net"
broken_name = "their_package.broken:Net"

[project.entry-points."raysweep.spaces"]
their_space = "their_package.spaces:width"
broken_space = "their_package.broken:width"

[project.entry-points."raysweep.datasets"]
their_data = "their_package.data:points"

[tool.setuptools]
packages = ["their_package"]

[tool.setuptools.package-data]
their_package = ["*.csv"]
"""
_NET = '''
from dataclasses import dataclass

import pandas as pd
import raysweep
from torch import nn


class Net(raysweep.TensorLearner):
    """Dense layers on a table."""

    Data = raysweep.DataConfig

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(16, "units", low=1, high=256)
        input_dropout: float = raysweep.option(0.0, "share dropped", low=0.0, high=0.5)

    @classmethod
    def load_data(cls, config):
        table = pd.read_csv(config.path())
        return raysweep.split(table[["x", "y"]].to_numpy(float), table["label"], seed=0)

    def build_model(self):
        width, rate = self.config.width, self.config.input_dropout
        return nn.Sequential(nn.Dropout(rate), nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
'''
_SPACES = '''
def width(trial, config):
    """How wide should the hidden layer be?"""
    return {"width": trial.suggest_int("width", 4, 64, log=True)}
'''
_DATA = '''
from pathlib import Path


def points():
    """Points on either side of a line."""
    return Path(__file__).with_name("points.csv")
'''
_BROKEN = "import a_library_that_is_not_there\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into, as `pip install --target` does."""
    source = tmp_path_factory.mktemp("their")
    (source / "their_package").mkdir()
    (source / "pyproject.toml").write_text(_PROJECT)
    code = {"net": _NET, "spaces": _SPACES, "data": _DATA, "broken": _BROKEN, "__init__": ""}
    for name, text in code.items():
        (source / "their_package" / f"{name}.py").write_text(text)
    rows = [(x, y, int(x > y)) for x in range(20) for y in range(20) if x != y]
    table = pd.DataFrame(rows, columns=["x", "y", "label"])
    table.to_csv(source / "their_package" / "points.csv", index=False)
    wheel = build_wheel(source, tmp_path_factory.mktemp("wheel"))
    folder = tmp_path_factory.mktemp("packages")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


@pytest.fixture(scope="module")
def run(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `raysweep` in a folder of its own, where the package is installed (or not)."""
    folder = tmp_path_factory.mktemp("project")

    def run(*arguments: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
        path = [str(packages)] if installed else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(ROOT)])}
        return subprocess.run(
            [sys.executable, "-m", "raysweep", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def test_a_search_of_the_packages_own(run: Run, packages: Path) -> None:
    """The workers import the package, which lies in no folder that they are in."""
    words = ["tune", "their_name", "their_space", "dropout_placement", "--dataset", "their_data"]
    words += ["--num-samples", "3", "--epochs", "2", "--scheduler", "none", "--name", "mine"]
    done = run(*words, "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["counts"]["finished"] == 3, found["failures"]
    assert {"width", "input_dropout"} <= set(found["searched"])
    assert 4 <= found["best"]["config"]["width"] <= 64
    assert run(*words, "--json").stdout == done.stdout, "resumed, and nothing repeated"
    for installed in (True, False):
        shown = run("report", "mine", installed=installed)
        assert shown.returncode == 0, shown.stderr
    with (packages / "their_package" / "net.py").open("a") as file:
        file.write("# another version\n")
    changed = run(*words)
    assert changed.returncode == 2
    assert "the code of their_name changed; --changed-code goes on" in changed.stderr
    gone = run(*words, installed=False)
    assert gone.returncode == 2
    assert "no trainable is called 'their_name'" in gone.stderr


def test_the_list_names_what_is_there_and_what_is_broken(run: Run) -> None:
    done = run("list")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name, words in (
        ("their_name", "Dense layers on a table."),
        ("their_space", "How wide should the hidden layer be?"),
        ("their_data", "Points on either side of a line."),
    ):
        assert words in lines[name]
        assert lines[name].endswith("their-package 1.2")
    assert "their-package" not in lines["sentiment"]
    broken, clash = done.stderr.splitlines()
    assert "broken_name, broken_space of the package their-package 1.2" in broken
    assert "No module named 'a_library_that_is_not_there'" in broken
    assert "the trainable 'sentiment' of the package their-package 1.2 is not used" in clash
    assert "theirs is their_package.net:Net" in clash
    fields = run("list", "their_name").stdout
    assert "--set width=16" in fields
    assert "--data dataset=" in fields
    assert "spaces: dropout_placement, optimizer, their_space" in fields
    assert run("data", "fetch", "their_data").stdout.strip().endswith("points.csv")
    assert "Points on either side" in run("data", "list").stdout


def test_built_in_names_win_and_that_is_said(run: Run) -> None:
    done = run("tune", "sentiment", "their_space", "--set", "width=3")
    assert done.returncode == 2
    assert "SentimentConfig has no field 'width'" in done.stderr
    assert "the trainable 'sentiment' of the package their-package 1.2 is not used" in done.stderr
    assert "sentiment" not in run("tune", "their_name", "their_spac").stderr


@pytest.mark.parametrize(
    "words", [("tune", "broken_name", "l2"), ("tune", "their_name", "broken_space")]
)
def test_a_broken_one_is_explained_when_it_is_asked_for(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words, "--dataset", "their_data")
    assert done.returncode == 2
    assert "of the package their-package 1.2 cannot be loaded" in done.stderr
    assert "broken.py" in done.stderr
    assert "No module named 'a_library_that_is_not_there'" in done.stderr
    assert "Fix, update or uninstall their-package" in done.stderr


def test_a_wrong_name_suggests_the_packages_own(run: Run) -> None:
    for words, right in (
        (("tune", "thier_name", "l2"), "their_name"),
        (("tune", "their_name", "thier_space"), "their_space"),
        (("data", "fetch", "thier_data"), "their_data"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert f"did you mean '{right}'" in done.stderr


def test_the_names_alone_import_no_pytorch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['raysweep', 'list']\n"
        "from raysweep.cluster import cli\n"
        "try: cli.main()\n"
        "except SystemExit: print('torch' in sys.modules, 'ray' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False False", done.stderr
