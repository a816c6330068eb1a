"""raysweep as a user has it: installed from a wheel, in a project that has names like ours."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .conftest import Environment

pytestmark = pytest.mark.timeout(300)

# Each of them leaves a file when it is imported, for an import whose failure is caught.
_HOSTILE = """
from pathlib import Path
(Path({folder!r}) / "imported" / {name!r}).touch()
raise RuntimeError("a user's own {name} was imported")
"""
# Every Python that has the project in its path notes its command line.
_NOTE = """
import sys
from pathlib import Path
with (Path({folder!r}) / "commands").open("a") as file:
    file.write(" ".join(sys.orig_argv) + chr(10))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a table of ratings, and modules with names of ours that raise."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "imported").mkdir()
    for name in ("analysis", "core", "data", "search_spaces", "test", "tests", "utils"):
        (folder / f"{name}.py").write_text(_HOSTILE.format(folder=str(folder), name=name))
    for name in ("cluster", "trainables", "benchmarks"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(_HOSTILE.format(folder=str(folder), name=name))
    (folder / "sitecustomize.py").write_text(_NOTE.format(folder=str(folder)))
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 25)) < 0.6)
    ratings = {"user": user, "item": item, "rating": rng.integers(1, 6, len(user))}
    pd.DataFrame(ratings).to_csv(folder / "ratings.csv", index=False)
    return folder


def test_the_installed_one_is_tested(installed: Environment, tmp_path: Path) -> None:
    code = "import raysweep.data, raysweep.cluster.cli as c; print(raysweep.__file__, c.__file__)"
    done = installed.run(installed.python, "-c", code, folder=tmp_path)
    assert len(done.stdout.split()) == 2, done.stderr
    for file in done.stdout.split():
        assert Path(file).is_relative_to(installed.folder)


def test_a_search_where_everything_has_a_name_of_ours(
    installed: Environment, project: Path
) -> None:
    """The project is first in the path of the driver and of every worker."""
    control = installed.run("python", "-c", "import data", folder=project, pythonpath=project)
    assert "a user's own data was imported" in control.stderr
    (project / "imported" / "data").unlink()
    command = ["raysweep", "tune", "matrix_factorization", "l2", "--dataset", "ratings.csv"]
    command += ["--num-samples", "2", "--epochs", "1", "--name", "run", "--json"]
    done = installed.run(*command, folder=project, pythonpath=project)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    table = pd.read_parquet(project / "runs/run/trials.parquet")
    assert table["status"].tolist() == ["finished", "finished"]
    commands = (project / "commands").read_text()
    assert "default_worker.py" in commands, "no worker had the project in its path"
    assert [path.name for path in (project / "imported").iterdir()] == []


def test_a_script_in_such_a_folder(installed: Environment, project: Path) -> None:
    (project / "mine.py").write_text("import raysweep\nprint(raysweep.tune.__module__)\n")
    done = installed.run("python", "mine.py", folder=project)
    assert done.stdout == "raysweep.cluster.interface\n", done.stderr
    assert not list((project / "imported").iterdir())


def test_a_users_own_data_folder_without_init_stays_importable(
    installed: Environment, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "loader.py").write_text("rows = 3\n")
    (tmp_path / "mine.py").write_text(
        "import raysweep\nfrom data.loader import rows\nprint(rows)\n"
    )
    done = installed.run("python", "mine.py", folder=tmp_path)
    assert done.stdout == "3\n", done.stderr


def test_no_bare_name_is_installed(installed: Environment, tmp_path: Path) -> None:
    names = "analysis", "cluster", "core", "data", "search_spaces", "trainables"
    code = f"from importlib.util import find_spec as f; print([n for n in {names} if f(n)])"
    done = installed.run("python", "-c", code, folder=tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_the_version_and_the_help(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("raysweep", "--version", folder=tmp_path)
    assert done.stdout == f"raysweep {version('raysweep')}\n", done.stderr
    command = installed.run("raysweep", folder=tmp_path)
    module = installed.run("python", "-m", "raysweep", folder=tmp_path)
    assert module.returncode == command.returncode == 2
    usage, *rest = command.stdout.strip().splitlines()
    assert usage.split()[:2] == ["Usage:", "raysweep"]
    assert "tune" in command.stdout
    assert module.stdout.strip().splitlines()[1:] == rest


def test_bash_completes_commands_and_options(installed: Environment, tmp_path: Path) -> None:
    script = """
    eval "$(raysweep --show-completion bash)"
    complete_line() {
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        $(complete -p raysweep | sed 's/.*-F \\([^ ]*\\).*/\\1/') raysweep
        echo "${COMPREPLY[*]}"
    }
    complete_line raysweep tu
    complete_line raysweep data fe
    complete_line raysweep tune --num-sa
    """
    done = installed.run("bash", "-c", script, folder=tmp_path)
    assert done.stdout.split() == ["tune", "fetch", "--num-samples"], done.stderr


def test_a_users_type_checker_sees_the_types(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'import raysweep\n\nrun = raysweep.tune("sentiment", ["l2"], num_samples=2)\n'
        "reveal_type(run)\nraysweep.tune(3)\n"
    )
    skipped = "torch.*,ray.*,pandas.*,numpy.*,matplotlib.*,sklearn.*,scipy.*"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n[mypy-{skipped}]\nfollow_imports = skip\n")
    check = ["-m", "mypy", "--python-executable", installed.python, "mine.py"]
    done = installed.run("python", *check, folder=tmp_path)
    assert 'Revealed type is "raysweep.cluster.interface.Run"' in done.stdout, done.stdout
    assert "mine.py:5: error" in done.stdout
    assert "import-untyped" not in done.stdout
