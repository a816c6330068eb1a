"""Entry points of packages, written as installers write them: found, loaded, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raysweep.core.errors import UserError
from raysweep.core.plugins import clashes, find_plugin, installed_plugins
from raysweep.data.sources.fetch import dataset_path, fetch, locate
from raysweep.search_spaces import get_space, sample
from raysweep.trainables import get_learner
from raysweep.trainables.registry import known_trainables

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module with entry points `group name = target`."""

    def write(package: str, code: str, *points: str, version: str = "1.0") -> Path:
        site = tmp_path / f"{package}-{version}"
        info = site / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
        groups = [
            f"[raysweep.{group}]\n{line}"
            for group, line in (point.split(maxsplit=1) for point in points)
        ]
        (info / "entry_points.txt").write_text("\n".join(groups))
        monkeypatch.syspath_prepend(str(site))
        return site

    return write


def test_plugins_are_found_without_an_import(install: Install) -> None:
    assert installed_plugins("space") == ()
    install("one_package", "raise RuntimeError('imported')", "spaces wide = one_package:wide")
    (plugin,) = installed_plugins("space")
    assert (plugin.name, plugin.target) == ("wide", "one_package:wide")
    assert plugin.origin == "one_package 1.0"
    assert find_plugin("space", "wide") == plugin
    assert find_plugin("trainable", "wide") is None
    with pytest.raises(UserError, match=r"'wide' of the package one_package 1\.0 cannot be loaded"):
        plugin.load()
    with pytest.raises(UserError, match="did you mean 'wide'"):
        get_space("wid")


def test_two_packages_with_one_name(install: Install) -> None:
    install("two_a", "wide = 1", "spaces wide = two_a:wide")
    install("two_b", "wide = 1", "spaces wide = two_b:wide", "spaces l2 = two_b:wide")
    with pytest.raises(
        UserError, match=r"two_a 1\.0 and two_b 1\.0 each have a space called 'wide'"
    ):
        get_space("wide")
    built_in, *both = clashes("space", ["l2"])
    assert "'l2' of the package two_b 1.0 is not used, since a built-in one" in built_in
    assert len(both) == 2


def test_a_module_that_ends_python_and_a_name_that_is_not_there(install: Install) -> None:
    points = "spaces quits = quitter:wide", "spaces gone = not_there_at_all:wide"
    install("quitter", "import sys\nsys.exit(3)", *points)
    with pytest.raises(UserError, match=r"quitter:wide ends Python, with the code 3"):
        get_space("quits")
    with pytest.raises(UserError, match="there is no module not_there_at_all"):
        get_space("gone")


def test_spaces_are_functions_or_spaces(install: Install) -> None:
    code = (
        "import raysweep\n"
        "def alone(trial):\n"
        "    'How wide?'\n"
        "    return {'width': trial.suggest_int('width', 1, 9)}\n"
        "def both(trial, config):\n"
        "    return {'width': config.width * trial.suggest_int('factor', 1, 9)}\n"
        "whole = raysweep.Space('other name', 'Why?', both, needs=('width',))\n"
        "number = 3\n"
    )
    names = ("alone", "both", "whole", "number")
    install("several", code, *(f"spaces {name} = several:{name}" for name in names))
    assert get_space("alone").question == "How wide?"
    assert get_space("whole").name == "whole", "what the command line calls it"
    config = get_learner("matrix_factorization").config_class()
    assert 1 <= sample(get_space("alone").bind("mine", config), 0)[1]["width"] <= 9
    with pytest.raises(UserError, match="'whole' is not for mine: it has no field width"):
        get_space("whole").bind("mine", config)
    with pytest.raises(UserError, match="'number' is 3, and no search space"):
        get_space("number")


def test_trainables_are_learners(install: Install) -> None:
    code = "import raysweep\nclass Net(raysweep.TensorLearner):\n    'Mine.'\nother = 3\n"
    points = "trainables net = nets:Net", "trainables other = nets:other"
    install("nets", code, *points, "trainables sentiment = nets:Net")
    assert known_trainables()[-2:] == ["net", "other"], "a built-in name stays what it is"
    assert get_learner("sentiment").__module__.startswith("raysweep.")
    with pytest.raises(UserError, match="'nets:Net' does not say build_model, load_data"):
        get_learner("net")
    with pytest.raises(UserError, match="'nets:other' is 3; name a function"):
        get_learner("other")


def test_datasets_are_paths(install: Install, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "def table():\n    'A table.'\n    return Path(__file__)\n"
        "def gone():\n    return 'nowhere.csv'\n"
        "def fails():\n    return 1 / 0\n"
        "number = 3\n"
    )
    names = ("table", "gone", "fails", "number")
    site = install("tables", code, *(f"datasets {name} = tables:{name}" for name in names))
    assert fetch("table") == dataset_path("table") == site / "tables.py"
    assert locate("table") is None, "nobody asks the function before it is needed"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "table").write_text("of the user's")
    assert fetch("table", data_dir=tmp_path / "own") == tmp_path / "own" / "table"
    assert dataset_path("mine.csv", "folder") == Path("folder/mine.csv")
    for name, words in (
        ("gone", "'gone' is said to lie at nowhere.csv, where nothing is"),
        ("fails", "'fails' could not be made: ZeroDivisionError"),
        ("number", "the dataset 'number' is 3; write a function"),
    ):
        with pytest.raises(UserError, match=words):
            fetch(name)
