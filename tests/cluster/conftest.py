"""Three real hosts for all tests here, and a cluster that `ray up` made on them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from .hosts import Host, Hosts, missing, three_hosts

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef" * 4
# A lost host is noticed after three seconds, not after a minute.
_HEALTH = (
    "RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=500 "
    "RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=4"
)
_SMALL = "--object-store-memory=150000000 --disable-usage-stats"


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        hosts: what it runs on.
        config: the file that `ray up` was given.
    """

    hosts: Hosts
    config: Path

    def ray(self, *command: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs `ray …` on this machine, as a user does."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ray"), *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=launcher_environment(self.hosts),
            cwd=self.config.parent,
        )
        return done

    def up(self) -> None:
        """`ray up`, and waits for the workers."""
        done = self.ray("up", "-y", "--no-config-cache", str(self.config))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        self.wait_for_nodes(3)

    def wait_for_nodes(self, count: int, timeout: float = 90) -> None:
        """Waits until so many nodes are alive."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.alive() == count:
                return
            time.sleep(1)
        raise AssertionError(f"{self.alive()} nodes, not {count}")

    def alive(self) -> int:
        """How many nodes are alive."""
        code = "from ray.util.state import list_nodes; print(sum(n.state=='ALIVE' for n in list_nodes()))"
        done = self.hosts.head.run(f'python -c "{code}"', check=False)
        lines = done.stdout.strip().splitlines()
        return int(lines[-1]) if done.returncode == 0 and lines else 0


def launcher_environment(hosts: Hosts) -> dict[str, str]:
    """The environment of a user's machine: its own token and folder for Ray's files."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
        "HOME": str(hosts.shared.parent / "user"),
        "RAY_TMPDIR": str(hosts.shared.parent / "user"),
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def write_config(hosts: Hosts) -> Path:
    """The shipped configuration for one's own hosts, with these addresses and nothing to install."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster/onprem/ray_config.yaml").read_text())
    config["provider"] |= {"head_ip": hosts.head.ip, "worker_ips": [w.ip for w in hosts.workers]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["setup_commands"] = []
    user = hosts.shared.parent / "user"
    (user / ".ray").mkdir(parents=True)
    (user / ".ray" / "auth_token").write_text(TOKEN)
    config["file_mounts"] = {"~/.ray/auth_token": str(user / ".ray" / "auth_token")}
    head = config["head_start_ray_commands"]
    head[-1] = head[-1].replace("ray start", f"{_HEALTH} ray start") + f" {_SMALL}"
    workers = config["worker_start_ray_commands"]
    workers[-1] += f" --num-cpus=1 {_SMALL}"
    path = user / "ray_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    reason = missing()
    if reason:
        pytest.skip(f"building hosts {reason}")
    folder = tmp_path_factory.mktemp("hosts")
    for path in (folder, *folder.parents):  # ssh servers read their keys as another user
        if path.owner() == "root" and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    environment = {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token"}
    with three_hosts(folder, Path(sys.executable).parent, environment) as built:
        yield built


@pytest.fixture(scope="session")
def cluster(hosts: Hosts) -> Iterator[Cluster]:
    made = Cluster(hosts, write_config(hosts))
    made.up()
    yield made
    done = made.ray("down", "-y", str(made.config))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def ratings(hosts: Hosts) -> Path:
    """Ratings in a file whose name has a space and a quote."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(40, 3)), rng.normal(size=(25, 3))
    scores = 3.0 + users @ items.T * 0.5 + rng.normal(size=(40, 25)) * 0.3
    path = hosts.shared / "Ann's films.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "rating", "timestamp"])
        for user, item in np.argwhere(rng.random((40, 25)) < 0.6):
            rating = int(np.clip(np.rint(scores[user, item]), 1, 5))
            writer.writerow([user, item, rating, 1000 + 7 * user + item])
    return path


def table(folder: Path) -> pd.DataFrame:
    """A run's table without what depends on the clock."""
    return pd.read_parquet(folder / "trials.parquet").drop(columns="time_total_s")


def raysweep(*arguments: str, timeout: float = 240) -> None:
    """Runs a command on this machine alone."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
    )
    assert done.returncode == 0, done.stderr


__all__ = ["Cluster", "Host", "Hosts", "raysweep", "table"]
