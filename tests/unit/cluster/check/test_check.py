"""`raysweep check`: what keeps a promise passes, and what breaks one fails on that line alone."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raysweep
from raysweep.cluster.check import ranges
from raysweep.cluster.check.processes import Workers
from raysweep.cluster.check.runner import CHECKS, check_request, run_checks
from raysweep.trainables.learner import Learner

from .broken import BROKEN, GOOD

pytestmark = pytest.mark.timeout(240)
RunCommand = Callable[..., tuple[int, str, str]]


def checked(workers: Workers, task: Any, **given: Any) -> pd.DataFrame:
    """A row a check, by its name."""
    lines = run_checks(check_request({"task": task, **given}), workers=workers)
    rows = {n.name: (n.outcome.status, n.outcome.detail, n.outcome.fix) for n in lines}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["result", "detail", "fix"])


def failed(table: pd.DataFrame) -> list[str]:
    return list(table.index[table["result"] == "failed"])


def test_a_good_model_keeps_every_promise(project: Path, run_command: RunCommand) -> None:
    (project / "own_net.py").write_text(GOOD)
    code, output, _ = run_command("check", "own_net.py:Net", "--json")
    told = json.loads(output)
    assert (code, told["target"], told["passed"]) == (0, "own_net.py:Net", True)
    results = {each["check"]: each["result"] for each in told["checks"]}
    assert list(results) == [check.name for check in CHECKS]
    assert results.pop("packs") == "not applicable"
    assert set(results.values()) == {"passed"}
    assert not any(each["fix"] for each in told["checks"])
    assert "own_net" not in {m.__name__ for m in _sent_by_value()}


def _sent_by_value() -> list[Any]:
    from ray import cloudpickle

    return [sys.modules[name] for name in cloudpickle.list_registry_pickle_by_value()]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_on_its_line_alone(
    project: Path, workers: Workers, name: str
) -> None:
    broken = BROKEN[name]
    (project / "own_net.py").write_text(broken.source)
    table = checked(workers, "own_net.py:Broken")
    assert failed(table) == [broken.check], table.to_string()
    line = table.loc[broken.check]
    assert re.search(broken.seen, line["detail"]), line["detail"]
    assert broken.fix in line["fix"]


def test_a_failure_is_printed_with_its_fix(project: Path, run_command: RunCommand) -> None:
    broken = BROKEN["an epoch that fails"]
    (project / "own_net.py").write_text(broken.source)
    code, output, _ = run_command("check", "own_net.py:Broken")
    assert code == 1
    assert "→ make an epoch run" in output
    assert "not tried" in output
    assert "own_net.py:Broken: 3 passed, 1 failed, 14 not tried" in output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["own_net.py:Nett"], "did you mean 'Net'"),
        (["own_net.py:Net", "--set", "widht=3"], "did you mean 'width'"),
        (["own_net.py:Net", "--data", "size=3"], "has no field 'size'"),
        (["nothing.py:Net"], "there is no file nothing.py"),
    ],
)
def test_a_mistake_ends_with_one_message(
    project: Path, run_command: RunCommand, arguments: list[str], advice: str
) -> None:
    (project / "own_net.py").write_text(GOOD)
    code, _, errors = run_command("check", *arguments)
    assert code == 2
    assert advice in errors


def test_ends_that_no_memory_holds_are_not_tried(project: Path, workers: Workers) -> None:
    huge = GOOD.replace("high=64", "high=10_000_000_000")
    (project / "own_net.py").write_text(huge)
    table = checked(workers, "own_net.py:Net")
    assert table.loc["ranges", "result"] == "passed"
    # 4 inputs, a bias and 3 outputs for each unit; weights, gradients and two moments of 4 bytes.
    assert "width=10000000000 (would need" in table.loc["ranges", "detail"]


SMALL: dict[str, dict[str, Any]] = {
    "char_rnn": {"hidden_size": 32, "embedding_size": 8, "sequence_length": 10},
    "word_vectors": {"window": 5, "embedding_size": 8, "hidden_size": 16},
}


def test_every_built_in_model_keeps_every_promise(
    learner_class: type[Learner[Any]],
    tiny_paths: dict[type[Any], Path],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "_MOST_S", 3.0)
    settings = {"batch_size": 64, **SMALL.get(learner_class.name, {})}
    path = tiny_paths[learner_class.data_class]
    table = checked(workers, learner_class.name, settings=settings, dataset=path)
    assert not failed(table), table[table["result"] == "failed"].to_string()
    assert list(table.index) == [check.name for check in CHECKS]
    assert "not tried" not in set(table["result"])


_FUNCTION = """
from ray import tune


def train(config):
    tune.report({"loss": 1.0})
"""


def test_of_a_function_only_that_it_reaches_other_machines_is_proved(
    project: Path, workers: Workers
) -> None:
    (project / "own_net.py").write_text(_FUNCTION)
    results = checked(workers, "own_net.py:train")["result"]
    assert results.pop("other machines") == "passed"
    assert set(results) == {"not applicable"}
    (project / "own_net.py").write_text(_FUNCTION + "\n\ntrain.log = open('own_log.txt', 'w')\n")
    sys.modules.pop("own_net")
    assert failed(checked(workers, "own_net.py:train")) == ["other machines"]


def test_a_module_imported_in_a_function_goes_along(project: Path, workers: Workers) -> None:
    (project / "own_points.py").write_text("NUMBER = 200\n")
    inside = "    rng = np.random.default_rng(0)\n"
    code = GOOD.replace(inside, f"    from own_points import NUMBER\n\n{inside}")
    (project / "own_net.py").write_text(code.replace("0, 3, 200", "0, 3, NUMBER"))
    assert not failed(table := checked(workers, "own_net.py:Net")), table.to_string()


def test_a_class_without_a_file_is_checked_in_python(workers: Workers) -> None:
    own: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(GOOD, "a notebook", "exec"), own)
    table = checked(workers, own["Net"])
    assert not failed(table), table.to_string()
    assert table.loc["resuming", "result"] == "passed"


def test_from_python_it_is_a_data_frame(project: Path) -> None:
    (project / "own_net.py").write_text(BROKEN["data that are no data set"].source)
    table = raysweep.check("own_net.py:Broken", epochs=3, settings={"width": 4})
    assert list(table.columns) == ["check", "result", "detail", "fix", "seconds"]
    assert set(table["result"]) == {"failed", "not tried"}
