"""The user's modules are imported where their files are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

from raysweep.core.targets import load_target, send_along, sent, source_hash, user_modules

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in cloudpickle.list_registry_pickle_by_value():
        if name not in before:
            cloudpickle.unregister_pickle_by_value(sys.modules[name])
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "parts").mkdir(parents=True)
    (folder / "own_late.py").write_text(
        "from own_kinds import Kind\n\n\n"
        "def f():\n"
        "    from parts import sizes\n"
        "    return sizes.WIDTH, sizes.KIND is Kind.B\n"
    )
    (folder / "own_kinds.py").write_text("from enum import Enum\nKind = Enum('Kind', 'A B')\n")
    (folder / "parts" / "sizes.py").write_text(
        "from own_kinds import Kind\nWIDTH = 7\nKIND = Kind.B\n"
    )
    monkeypatch.chdir(folder)
    return folder


def pickled(target: str) -> bytes:
    send_along(cloudpickle, target)
    return cloudpickle.dumps(sent(load_target(target), target))


def elsewhere(folder: Path, code: str, *pickles: bytes) -> str:
    """What code prints in a process without the files, where `p` are the names of the pickles."""
    files = [folder / f"{number}.pickle" for number, _ in enumerate(pickles)]
    for file, data in zip(files, pickles, strict=True):
        file.write_bytes(data)
    load = "import pickle, sys\np = [open(n, 'rb').read() for n in sys.argv[1:]]\n"
    command = [sys.executable, "-c", load + code, *map(str, files)]
    environment = {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_import_inside_of_a_function_finds_its_module(project: Path, tmp_path: Path) -> None:
    """And an enumeration is the same one on both ways to it."""
    data = pickled("own_late.py:f")
    assert "parts.sizes" not in sys.modules
    assert elsewhere(tmp_path, "print(pickle.loads(p[0])())", data) == "(7, True)"


def test_an_error_shows_the_users_lines(project: Path, tmp_path: Path) -> None:
    (project / "parts" / "sizes.py").write_text("WIDTH = 1 / 0  # here\n")
    code = (
        "import traceback\ntry:\n    pickle.loads(p[0])()\n"
        "except Exception:\n    traceback.print_exc(file=sys.stdout)"
    )
    shown = elsewhere(tmp_path, code, pickled("own_late.py:f"))
    assert f'File "{project}/parts/sizes.py", line 1' in shown
    assert "WIDTH = 1 / 0  # here" in shown


def test_what_is_sent_again_after_an_edit_is_imported_anew(project: Path, tmp_path: Path) -> None:
    first = pickled("own_late.py:f")
    (project / "parts" / "sizes.py").write_text(
        "from own_kinds import Kind\nWIDTH = 8\nKIND = Kind.A\n"
    )
    code = "print([pickle.loads(each)() for each in (p[0], p[1], p[1])])"
    shown = elsewhere(tmp_path, code, first, pickled("own_late.py:f"))
    assert shown == "[(7, True), (8, False), (8, False)]"


def test_the_hash_is_also_of_what_functions_import(project: Path) -> None:
    before = source_hash("own_late.py:f")
    (project / "parts" / "sizes.py").write_text("WIDTH = 9\n")
    assert source_hash("own_late.py:f") != before


def test_without_such_imports_code_is_sent_as_it_is(project: Path, tmp_path: Path) -> None:
    """With what was changed after the import."""
    (project / "own_plain.py").write_text("WIDTH = 1\ndef f():\n    return WIDTH\n")
    load_target("own_plain.py:f")
    sys.modules["own_plain"].WIDTH = 5  # type: ignore[attr-defined]
    assert "own_late" not in sys.modules
    assert elsewhere(tmp_path, "print(pickle.loads(p[0])())", pickled("own_plain.py:f")) == "5"


def test_files_that_only_have_the_name_of_what_is_imported_stay(
    project: Path, tmp_path: Path
) -> None:
    (project / "json.py").write_text("1 / 0\n")
    (project / "own_json.py").write_text(
        "def f():\n    import json\n    import own_kinds\n    return json.dumps([1])\n"
    )
    assert elsewhere(tmp_path, "print(pickle.loads(p[0])())", pickled("own_json.py:f")) == "[1]"


def test_a_module_may_be_called_like_ours(project: Path) -> None:
    (project / "raysweep_own.py").write_text("def f():\n    pass\n")
    assert [m.__name__ for m in user_modules("raysweep_own.py:f")] == ["raysweep_own"]


def test_python_below_the_folder_of_the_user_is_not_the_users(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be installed in the home, and so may be the user's file."""
    home = Path(subprocess.__file__).parents[2]
    monkeypatch.setattr("raysweep.core.targets._root", lambda module: home)
    assert user_modules("own_late.py:f") == []
