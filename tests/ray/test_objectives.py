"""Two objectives with a constraint on a real model: interrupted, resumed, and as if it had not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import tune

import raysweep
from raysweep.core.errors import UserError
from tests.ray.test_own_model import _NET, _POINTS

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(240)]
# What time decides, and no two runs have in common.
_TIMED = ["time_total_s"]


_CODE = """
from ray import tune


def steps(config):
    for step in range(3):
        tune.report({"score": config["x"] * (step + 1), "cost": config["x"] ** 2})
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_net.py").write_text(_NET)
    (tmp_path / "own_points.py").write_text(_POINTS)
    (tmp_path / "own_steps.py").write_text(_CODE)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("own_net", "own_points", "own_steps"):
        sys.modules.pop(name, None)


def search(name: str, **options: Any) -> raysweep.Run:
    given: dict[str, Any] = {
        "search": ["width=1..256:log", "learning_rate=1e-3..1e-1:log"],
        "objective": ["val_accuracy", "num_parameters"],
        "constraint": "num_parameters<=1000",
        "num_samples": 12,
        "epochs": 4,
        "pack": "off",
        **options,
    }
    return raysweep.tune("own_net.py:Net", name=name, max_concurrent=1, **given)


def test_an_interrupted_search_comes_to_the_front_of_an_undisturbed_one(project: Path) -> None:
    began = time.monotonic()
    straight = search("straight")
    seconds = time.monotonic() - began
    assert straight.complete
    assert len(straight.trials) == 12
    assert (straight.trials["num_parameters"] <= 1000).all(), "larger ones were passed over"
    assert not search("halves", time_budget=0.4 * seconds).complete
    halves = search("halves")
    assert halves.complete
    assert halves.trials.drop(columns=_TIMED).equals(straight.trials.drop(columns=_TIMED))
    front = halves.pareto
    assert front["trial"].tolist() == straight.pareto["trial"].tolist()
    assert front["val_accuracy"].is_monotonic_decreasing
    assert front["num_parameters"].is_monotonic_decreasing
    assert 1 <= len(front) < 12
    page = Path(halves.report())
    assert "on the Pareto front of val_accuracy and num_parameters" in page.read_text()
    assert {"front.png", "hypervolume.png"} <= {p.name for p in page.parent.iterdir()}


def test_a_measured_constraint_ends_trials_after_an_epoch(project: Path) -> None:
    constraints = ["latency_ms<1000", "memory_mb>1", "val_loss<1.0"]
    run = search("measured", objective=(), constraint=constraints, num_samples=6, scheduler="none")
    assert run.complete
    for _, trial in run.trials.iterrows():
        assert 0 < trial["latency_ms"] < 1000
        assert trial["memory_mb"] > 1
        first = run.curves[run.curves["trial"] == trial["trial"]].iloc[0]
        kept = first["val_loss"] < 1.0
        assert (trial["status"], trial["epochs"]) == (("finished", 4) if kept else ("stopped", 1))
        assert ("val_loss<1 does not hold: it was" in trial["error"]) != kept
    assert {"finished", "stopped"} == set(run.trials["status"])
    assert run.best["val_loss"] < 1.0


def test_a_function_is_judged_by_what_it_reports(project: Path) -> None:
    def run(name: str, *objective: str) -> raysweep.Run:
        return raysweep.tune(
            "own_steps.py:steps",
            {"x": tune.uniform(0, 1)},
            objective=objective,
            constraint="cost<=0.25",
            num_samples=8,
            scheduler="none",
            name=name,
        )

    table = run("steps", "score", "cost:min").trials
    kept = table["param.x"] <= 0.5
    assert 0 < kept.sum() < 8
    assert (table["status"] == kept.map({True: "finished", False: "stopped"})).all()
    assert (table["epochs"] == kept.map({True: 3, False: 1})).all()
    front = raysweep.load_run("steps").pareto
    assert sorted(front["trial"]) == sorted(table["trial"][kept]), "more costs more"
    with pytest.raises(UserError, match="say whether it is to be small or large, cost:min or"):
        run("unknown", "score", "cost")
    with pytest.raises(UserError, match=r"reported cost, score, and not costs; did you mean"):
        run("wrong", "score", "costs:min")


def test_a_limit_that_no_configuration_keeps_is_refused_before_there_is_a_run(
    project: Path,
) -> None:
    with pytest.raises(UserError, match=r"none of 200 configurations .* have 13 to 2,\d+ param"):
        search("none", constraint="num_parameters<5")
    assert not (project / "runs/none/experiment.yaml").exists()


def test_the_command_prints_the_front_and_the_best_within_a_limit(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from raysweep.cluster.cli import app

    options = "--search width=4,16,64 --search learning_rate=0.01,0.05 --searcher grid --epochs 2"
    goals = "--objective val_accuracy --objective num_parameters:min --scheduler none --name cli"
    ran = CliRunner().invoke(app, ["tune", "own_net.py:Net", *options.split(), *goals.split()])
    assert ran.exit_code == 0, ran.output
    assert "Pareto front, " in ran.output
    limits = ["--where", "num_parameters<200", "--json"]
    best = CliRunner().invoke(app, ["best", "cli", *limits])
    found = json.loads(best.stdout)
    assert found["metrics"]["num_parameters"] < 200
    table = raysweep.load_run("cli").trials
    small = table[table["num_parameters"] < 200]
    assert found["metrics"]["val_accuracy"] == small["val_accuracy"].max()
