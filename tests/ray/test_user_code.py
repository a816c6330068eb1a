"""Whatever runs in Ray Tune, searched: functions and classes, resumed, each report counted once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from ray import tune

import raysweep
from raysweep.core.errors import UserError
from raysweep.core.ray_private import worker_processes

pytestmark = [
    pytest.mark.usefixtures("ray", "nothing_is_left_behind"),
    pytest.mark.timeout(300),
]
CODE = '''
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from own_curve import height
from ray import tune

space = {"x": tune.uniform(0, 1), "model": {"size": tune.randint(1, 5)}}


def steps(config):
    """Climbs six steps, each with a checkpoint."""
    start = 0
    if saved := tune.get_checkpoint():
        with saved.as_directory() as folder:
            start = json.loads(Path(folder, "state.json").read_text())
    for step in range(start, 6):
        time.sleep(config.get("pause", 0))
        with TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps(step + 1))
            checkpoint = tune.Checkpoint.from_directory(folder)
            value = height(config["x"], config["model"]["size"], step)
            tune.report({"score": value, "more": {"step": step}}, checkpoint=checkpoint)


def without_checkpoint(config):
    for step in range(6):
        time.sleep(config.get("pause", 0))
        tune.report({"score": height(config["x"], config["model"]["size"], step)})


class Steps(tune.Trainable):
    def setup(self, config):
        self.x, self.size, self.steps = config["x"], config["model"]["size"], 0
        self.pause = config.get("pause", 0)

    def step(self):
        time.sleep(self.pause)
        self.steps += 1
        value = height(self.x, self.size, self.steps - 1)
        return {"score": value, "done": self.steps == 6}

    def save_checkpoint(self, folder):
        return {"steps": self.steps}

    def load_checkpoint(self, state):
        self.steps = state["steps"]
'''
CURVE = """
def height(x, size, step):
    return (1 - (x - 0.4) ** 2 + 0.01 * size) * (1 - 0.5 ** (step + 1))
"""
WAYS = ("steps", "without_checkpoint", "Steps")


@pytest.fixture
def project(write_modules: Callable[..., Path]) -> Path:
    return write_modules(own_code=CODE, own_curve=CURVE)


def search(way: str, **more: Any) -> raysweep.Run:
    given = {"metric": "score", "mode": "max", "num_samples": 5, "name": way, **more}
    return raysweep.tune(f"own_code.py:{way}", "own_code.py:space", **given)


def what_counts(table: pd.DataFrame) -> pd.DataFrame:
    """The table without what a clock measured."""
    kept = [c for c in table.columns if "time" not in c]
    return table[kept].astype({"curve": str})


@pytest.mark.parametrize("way", WAYS)
def test_a_search(project: Path, way: str) -> None:
    run = search(way)
    assert run.complete
    assert set(run.trials["status"]) <= {"finished", "stopped"}
    best = run.best
    assert best["epochs"] == 6
    assert best["score"] == run.trials["score"].max()
    assert run.best_config["model/size"] in range(1, 5)
    again = search(way)
    assert len(again.trials) == 5, "nothing is repeated"
    page = Path(run.report()).read_text()
    assert "score" in page
    if way != "without_checkpoint":
        assert list((project / f"runs/{way}/best/checkpoint").iterdir())
        kept = list((project / f"runs/{way}/trials/00000").glob("checkpoint_*"))
        assert 1 <= len(kept) <= 2, "the newest and the best"


def test_what_needs_no_code_works_when_the_file_has_moved(project: Path) -> None:
    search("Steps", name="moved", num_samples=3)
    for name in ("own_code", "own_curve"):
        (project / f"{name}.py").unlink()
        sys.modules.pop(name)
    run = raysweep.load_run("moved")
    assert run.complete
    assert run.metric == "score"
    assert len(run.trials) == 3
    assert Path(run.report()).is_file()
    with pytest.raises(UserError, match=r"there is no file own_code\.py"):
        run.confirm()


@pytest.mark.parametrize("way", WAYS)
def test_killed_and_run_again(project: Path, way: str) -> None:
    """Command and workers are killed with -9 in the middle; the table is the undisturbed one."""
    undisturbed = search(way, name="undisturbed", settings={"pause": 0.2}, max_concurrent=1)
    script = project / "go.py"
    script.write_text(
        "import raysweep\n"
        f"raysweep.tune('own_code.py:{way}', 'own_code.py:space', metric='score', mode='max',"
        " num_samples=5, name='killed', settings={'pause': 0.2}, max_concurrent=1)\n"
    )
    ledger = project / "runs/killed/ledger.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for results in (3, 8):
        process = subprocess.Popen(
            [sys.executable, str(script)], env=environment, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if ledger.exists() and ledger.read_text().count('"result"') // 2 >= results:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = search(way, name="killed", settings={"pause": 0.2}, max_concurrent=1)
    assert finished.complete
    pd.testing.assert_frame_equal(
        what_counts(undisturbed.trials), what_counts(finished.trials), check_like=True
    )
    epochs = finished.curves.groupby("trial")["epoch"].agg(list)
    assert all(each == list(range(1, len(each) + 1)) for each in epochs), "each report once"


def test_objects_of_python_with_parameters_resources_and_callbacks(project: Path) -> None:
    def train(config: dict[str, Any], data: list[float] | None = None) -> dict[str, float]:
        assert data is not None
        return {"loss": (config["x"] - data[0]) ** 2}

    class Noted(tune.Callback):
        def __init__(self) -> None:
            self.results: list[dict[str, Any]] = []

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
        ):  # type: ignore[no-untyped-def]
            self.results.append(result)

    class Fails(tune.Callback):
        def on_trial_start(self, **info: Any) -> None:
            raise ValueError("of no use")

    noted = Noted()
    code = tune.with_resources(tune.with_parameters(train, data=[0.25]), {"cpu": 2})
    run = raysweep.tune(
        code,
        {"x": tune.uniform(0, 1)},
        metric="loss",
        num_samples=6,
        scheduler="none",
        name="objects",
        points_to_evaluate=[{"x": 0.25}],
        callbacks=[Fails(), noted],
    )
    assert run.complete
    assert run.trials["config.x"][0] == 0.25
    assert run.best["loss"] == 0
    assert sorted(r["loss"] for r in noted.results) == sorted(run.trials["loss"])
    assert {r["training_iteration"] for r in noted.results} == {1}


def test_no_process_is_ended_while_it_starts(project: Path) -> None:
    """Some are ready before others have started; those are not given up for them."""

    def short(config: dict[str, Any]) -> dict[str, float]:
        time.sleep(0.1)
        return {"loss": config["x"]}

    before, started, over = set(worker_processes()), set(), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            with contextlib.suppress(psutil.Error):
                started.update(set(worker_processes()) - before)

    watching = threading.Thread(target=watch)
    watching.start()
    run = raysweep.tune(
        short,
        {"x": tune.uniform(0, 1)},
        metric="loss",
        num_samples=40,
        cpus=0.25,
        searcher="random",
        scheduler="none",
        name="short",
    )
    over.set()
    watching.join()
    assert len(run.trials) == 40
    assert len(started) <= 8, "two CPUs hold eight trials of a quarter"


def test_confirm_repeats_the_best_with_fresh_seeds(project: Path) -> None:
    def noisy(config: dict[str, Any]) -> dict[str, float]:
        import random

        return {"loss": config["x"] + random.random()}

    run = raysweep.tune(
        noisy, {"x": tune.uniform(0, 1)}, metric="loss", num_samples=4, name="noisy"
    )
    table = run.confirm(num_seeds=3)
    assert len(set(table[table["metric"] == "loss"]["value"])) == 3, "seeded by config['seed']"
    assert raysweep.load_run("noisy").trials["loss"].notna().all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "train ended without a result; it must call"),
        ("tune.report({'losss': 1.0})", "reported losss, and not loss; did you mean 'losss'"),
    ],
)
def test_code_that_cannot_be_judged_ends_the_search(project: Path, body: str, message: str) -> None:
    source = f"""
from ray import tune

space = {{"x": tune.uniform(0, 1)}}


def train(config):
    {body}
"""
    (project / "bad.py").write_text(source)
    try:
        with pytest.raises(UserError, match=message):
            raysweep.tune("bad.py:train", "bad.py:space", metric="loss", name="bad")
    finally:
        sys.modules.pop("bad", None)


def test_resources_of_the_code_s_own(project: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, float]:
        from ray.util import get_current_placement_group

        placed = get_current_placement_group()
        assert placed is not None
        return {"loss": config["x"], "cpus": placed.bundle_specs[0]["CPU"]}

    def asked(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": 1 if config["x"] < 0.5 else 2}])

    def search_with(resources: Any, name: str) -> raysweep.Run:
        def copied(config: dict[str, Any]) -> dict[str, float]:
            return train(config)

        code = tune.with_resources(copied, resources)
        space = {"x": tune.choice([0.2, 0.8])}
        return raysweep.tune(code, space, metric="loss", num_samples=2, name=name)

    table = search_with(asked, "by_config").trials
    assert dict(zip(table["config.x"], table["cpus"], strict=True)) == {0.2: 1, 0.8: 2}
    for resources, needed in (({"cpu": 64}, "64 CPU"), ({"cpu": 1, "widgets": 2}, "2 widgets")):
        with pytest.raises(UserError, match=f"your code asks for {needed}.*no node has that much"):
            search_with(resources, needed.replace(" ", ""))
    with pytest.raises(UserError, match="the resources of copied failed:"):
        search_with(lambda config: config["y"], "failing")


def test_a_target_and_patience_end_a_search(project: Path) -> None:
    run = search("steps", name="target", target=0.5, num_samples=30)
    assert not run.complete
    assert run.best["score"] >= 0.5
    assert len(run.trials) < 30
    patient = search("steps", name="patience", patience=3, num_samples=30, max_concurrent=1)
    leader = int(patient.best["trial"])
    assert len(patient.trials) <= leader + 6
    more = search("steps", name="target", num_samples=8)
    assert more.complete, "without the limit, the same request goes on"
    assert json.loads((project / "runs/target/best/state.json").read_text())["value"] >= 0.5
