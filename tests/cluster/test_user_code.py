"""A user's own function and model, in files that one machine has, are searched on all hosts."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import read_table

from .launching import run_as_user
from .running import ROOT, Cluster, finish, raysweep, wait_until
from .test_faults import events

pytestmark = pytest.mark.timeout(300)

MODEL = '''
import json
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import raysweep
from curve import height
from ray import tune
from torch import nn

space = {"x": tune.uniform(0, 1), "model": {"size": tune.randint(1, 5)}}


def train(config):
    """Climbs six steps, each with a checkpoint; says on which host, and where it went on."""
    from parts.places import host  # loaded by nobody before a trial starts

    start = 0
    if saved := tune.get_checkpoint():
        with saved.as_directory() as folder:
            start = json.loads(Path(folder, "state.json").read_text())
    for step in range(start, 6):
        time.sleep(config.get("pause", 0.2))
        with TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps(step + 1))
            checkpoint = tune.Checkpoint.from_directory(folder)
            value = height(config["x"], config["model"]["size"], step)
            report = {"score": value, "host": host(), "start": start}
            tune.report(report, checkpoint=checkpoint)


class Points(raysweep.TensorLearner):
    """Points on either side of a line."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(4, "hidden units", low=1, high=64)

    @classmethod
    def load_data(cls, config):
        import data_of_points

        return raysweep.split(*data_of_points.points(), seed=0)

    def build_model(self):
        time.sleep(0.2)
        width = self.config.width
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))

    def evaluate(self, data, prefix):
        from parts.places import host

        return {**super().evaluate(data, prefix), f"{prefix}_host": host()}
'''
FILES = {
    "my_model.py": MODEL,
    "curve.py": """
def height(x, size, step):
    return (1 - (x - 0.4) ** 2 + 0.01 * size) * (1 - 0.5 ** (step + 1))
""",
    "data_of_points.py": """
import torch


def points():
    inputs = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    return inputs.numpy(), (inputs.sum(1) > 1).long().numpy()
""",
    # A folder without __init__.py.
    "parts/places.py": """
import socket

HOSTS = {"rsh1": 1.0, "rsh2": 2.0, "rsh3": 3.0}


def host():
    return HOSTS.get(socket.gethostname(), 0.0)
""",
}
FUNCTION = ["train", "space"]
SEARCHED = ["--metric", "score", "--mode", "max", "--num-samples", "8", "--searcher", "random"]
WORKERS = {2.0, 3.0}


def search(folder: str = "") -> list[str]:
    """The search of the function, in a file of that folder."""
    return ["tune", *(f"{folder}my_model.py:{name}" for name in FUNCTION), *SEARCHED, "--json"]


def write_files(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The user's folder, on the user's own machine."""
    return write_files(tmp_path / "project")


@pytest.fixture
def on_head(cluster: Cluster) -> Iterator[str]:
    """The user's folder on the head; no other host sees its disk."""
    seen = "/tmp/ray/project"
    write_files(cluster.hosts.head.folder / "ray" / "project")
    for worker in cluster.hosts.workers:
        assert worker.run(f"ls {seen}", check=False).returncode != 0
    yield seen
    shutil.rmtree(cluster.hosts.head.folder / "ray" / "project")


def last_reports(run: Path, name: str) -> list[float]:
    """A reported number of every trial's last result."""
    last = {e["index"]: e["result"] for e in events(run, "result")}
    return [result[name] for result in last.values()]  # type: ignore[index]


def assert_searched_everywhere(run: Path, host: str = "host", num_trials: int = 8) -> None:
    table = read_table(run)
    assert len(table) == num_trials
    assert set(table["status"]) <= {"finished", "stopped"}, table["error"].to_list()
    assert set(last_reports(run, host)) == WORKERS


def test_a_function_and_a_model_are_searched_from_the_head(cluster: Cluster, on_head: str) -> None:
    head, storage = cluster.hosts.head, cluster.hosts.shared / "from-head"
    address = f"--address {head.ip}:6379 --storage {storage}"
    head.run(f"cd {on_head} && raysweep {' '.join(search())} --name function {address}")
    assert_searched_everywhere(storage / "function")
    model = "tune my_model.py:Points --search width=2..32 --epochs 2 --num-samples 8 --json"
    head.run(f"cd {on_head} && raysweep {model} --name model {address}")
    assert_searched_everywhere(storage / "model", "val_host")
    # Fresh seeds of what was found, from the same files.
    head.run(f"cd {on_head} && raysweep confirm {storage}/model --num-seeds 2 --address auto")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("{ip}:6379", "this machine is not part of the cluster at {ip}:6379"),
        ("ray://{ip}:10001", "ray://{ip}:10001 is an address for Ray's client"),
    ],
)
def test_a_machine_outside_of_the_cluster_is_told_to_submit(
    cluster: Cluster, project: Path, address: str, reason: str
) -> None:
    ip = cluster.hosts.head.ip
    where = ["--address", address.format(ip=ip), "--storage", str(project / "runs")]
    done = run_as_user(cluster.hosts, "raysweep", *search(), *where, cwd=project, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(f"raysweep: {reason.format(ip=ip)}"), done.stderr
    assert "`ray job submit --address http://HEAD:8265 --working-dir . -- raysweep" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@contextmanager
def dashboard(cluster: Cluster) -> Iterator[str]:
    """The address of the head's job server on the user's own machine, as of `ray dashboard`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tunnel = subprocess.Popen(
        [*cluster.hosts.head.ssh(), "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:8265"]
    )
    try:

        def answers() -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, "the tunnel", 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        tunnel.kill()
        tunnel.wait()


def test_a_job_with_a_working_directory(cluster: Cluster, project: Path) -> None:
    storage = cluster.hosts.shared / "job"
    with dashboard(cluster) as address:
        submit = ["ray", "job", "submit", "--address", address, "--working-dir", str(project)]
        command = ["raysweep", *search(), "--storage", str(storage), "--name", "run"]
        run_as_user(cluster.hosts, *submit, "--", *command)
    assert_searched_everywhere(storage / "run")


def test_a_node_is_killed_during_a_search_of_a_function(
    cluster: Cluster, on_head: str, project: Path, tmp_path: Path
) -> None:
    slow = [*search(), "--set", "pause=0.5", "--name", "run", "--storage"]
    raysweep(*slow, str(tmp_path / "calm"), cwd=project)
    storage, log = cluster.hosts.shared / "killed", tmp_path / "log"
    run, host = storage / "run", cluster.hosts.workers[1]
    command = " ".join(["cd", on_head, "&& raysweep", *slow, str(storage), "--address auto"])
    process = cluster.hosts.head.start_command(command, log)

    def in_mid_trial() -> bool:
        there = [e for e in events(run, "result") if e["result"]["host"] == 3.0]  # type: ignore[index]
        return bool(there) and there[-1]["result"]["epoch"] in (2, 3)  # type: ignore[index]

    wait_until(lambda: in_mid_trial() or process.poll() is not None, "a trial there")
    assert process.poll() is None, log.read_text()
    cluster.kill_raylet(host)
    finish(process, log)
    reported = Counter((e["index"], e["result"]["epoch"]) for e in events(run, "result"))  # type: ignore[index]
    assert set(reported.values()) == {1}
    assert max(last_reports(run, "start")) >= 2, "a trial went on from its checkpoint elsewhere"
    of_both = [
        table.drop(columns=[c for c in table if c.removeprefix("last_") in ("host", "start")])
        for table in (read_table(run), read_table(tmp_path / "calm" / "run"))
    ]
    assert set(of_both[0]["status"]) == {"finished", "stopped"}
    pd.testing.assert_frame_equal(*of_both)


def test_submitted_with_the_folder_of_the_file(
    launched: Path, running: Cluster, project: Path
) -> None:
    """By `cluster/submit.py`; and with `ray submit` itself, which sends nothing, in two steps."""
    hosts, script = running.hosts, str(ROOT / "cluster/submit.py")
    command = [*search("project/"), "--storage", str(hosts.shared / "submit"), "--name"]
    start = [sys.executable, script, str(launched)]
    run_as_user(hosts, *start, *command, "one", cwd=project.parent)
    assert_searched_everywhere(hosts.shared / "submit" / "one")
    submit = ["ray", "submit", str(launched), script, "--", *command, "two"]
    refused = run_as_user(hosts, *submit, cwd=project.parent, check=False)
    assert refused.returncode != 0
    assert "submit: project/my_model.py is not in" in refused.stdout
    run_as_user(
        hosts, "ray", "rsync-up", str(launched), "project/", "~/project/", cwd=project.parent
    )
    run_as_user(hosts, *submit, cwd=project.parent)
    pd.testing.assert_frame_equal(
        *(
            read_table(hosts.shared / "submit" / name)[["trial", "config.x", "status", "score"]]
            for name in ("one", "two")
        )
    )
