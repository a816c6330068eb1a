"""Code of the user's: by file or module, refused with advice, hashed with what is beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.core.errors import UserError
from raysweep.core.targets import is_target, load_target, name_object, source_hash, user_modules


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_net.py").write_text(
        "from my_layers import WIDTH\nclass Net:\n    width = WIDTH\n"
    )
    (tmp_path / "my_layers.py").write_text("WIDTH = 7\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_imported_with_the_modules_beside_it(project: Path) -> None:
    assert is_target("my_net.py:Net")
    assert not is_target("sentiment")
    assert load_target("my_net.py:Net").width == 7
    assert load_target(f"{project}/my_net.py:Net") is load_target("my_net.py:Net")


def test_a_module_is_imported_by_its_name() -> None:
    assert load_target("pathlib:Path") is Path


def test_a_file_with_the_name_of_another_module_is_itself(project: Path) -> None:
    (project / "json.py").write_text("class Net:\n    pass\n")
    import json

    assert load_target("json.py:Net").__name__ == "Net"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("my_nte.py:Net", "there is no file my_nte.py"),
        ("my_net.py:Nte", "did you mean 'Net'"),
        ("my_net.py:", "is not FILE.py:NAME or PACKAGE.MODULE:NAME"),
        ("no_such_module:Net", "there is no module no_such_module"),
    ],
)
def test_a_wrong_target_is_refused_with_advice(project: Path, target: str, advice: str) -> None:
    with pytest.raises(UserError) as error:
        load_target(target)
    assert advice in str(error.value)


def test_an_import_that_fails_shows_the_users_frames_alone(project: Path) -> None:
    (project / "broken.py").write_text(
        "import my_layers\n\n\ndef f():\n    return 1 / 0\n\n\nf()\n"
    )
    with pytest.raises(UserError) as error:
        load_target("broken.py:Net")
    message = str(error.value)
    assert message.startswith("broken.py cannot be imported:")
    assert message.endswith("ZeroDivisionError: division by zero")
    assert "line 5, in f" in message
    assert "targets.py" not in message
    assert "importlib" not in message
    assert "broken" not in sys.modules


def test_the_hash_is_of_the_file_and_of_what_it_imports_beside_it(project: Path) -> None:
    before = source_hash("my_net.py:Net")
    assert [m.__name__ for m in user_modules("my_net.py:Net")] == ["my_layers", "my_net"]
    (project / "my_layers.py").write_text("WIDTH = 8\n")
    assert source_hash("my_net.py:Net") != before
    (project / "my_layers.py").write_text("WIDTH = 7\n")
    assert source_hash("my_net.py:Net") == before


def test_installed_code_is_not_the_users() -> None:
    assert user_modules("yaml:safe_load") == []
    assert source_hash("yaml:safe_load") == ""


def test_an_object_has_a_name_and_the_hash_of_its_own_source() -> None:
    """Two functions of one name are not the same code, and a notebook has no file."""

    def made(factor: int) -> str:
        if factor == 1:

            def train(config: dict[str, float]) -> float:
                return config["x"]
        else:

            def train(config: dict[str, float]) -> float:
                return 2 * config["x"]

        return source_hash(name_object(train))

    assert made(1) == made(1) != made(2)
    assert name_object(load_target) == "raysweep.core.targets:load_target", "importable by its name"


def test_code_without_source_is_known_by_what_it_was_compiled_to() -> None:
    def hashed(text: str) -> str:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(text, scope)  # as a notebook does
        return source_hash(name_object(scope["train"]))

    first = hashed("def train(config): return config['x'] + 1")
    assert first == hashed("def train(config): return config['x'] + 1") != ""
    assert first != hashed("def train(config): return config['x'] + 2")


def test_a_script_has_one_hash_where_it_runs_and_where_it_is_imported(project: Path) -> None:
    (project / "script.py").write_text(
        "import sys\nfrom my_layers import WIDTH\nfrom raysweep.core.targets import *\n"
        "def train(config): return WIDTH\n"
        "if __name__ == '__main__': print(name_object(train), source_hash(name_object(train)))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.stdout.split() == ["script.py:train", source_hash("script.py:train")]


def test_a_module_beside_that_is_no_source_does_not_matter(project: Path) -> None:
    load_target("my_net.py:Net")
    before = source_hash("my_net.py:Net")
    (project / "my_layers.py").write_bytes(b"\x00\x01 compiled")
    assert source_hash("my_net.py:Net") != before


def test_a_module_that_is_known_by_two_names_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twice_known.py").write_text("def train(config): ...\n")
    target = f"{tmp_path / 'twice_known.py'}:train"
    load_target(target)
    (module,) = user_modules(target)
    monkeypatch.setitem(sys.modules, "another_name_of_it", module)
    assert user_modules(target) == [module]
