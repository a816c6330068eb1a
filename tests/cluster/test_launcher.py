"""`ray up`, `ray submit`, `ray down`, with the shipped configuration for one's own hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.helpers import read_table

from .hosts import Hosts
from .running import HEALTH, ROOT, SEARCH, SMALL, TOKEN, Cluster, wait_until

pytestmark = pytest.mark.timeout(400)

_BIN = Path(sys.executable).parent


def _environment(hosts: Hosts) -> dict[str, str]:
    """A user's own machine: its token, its folder for Ray's files."""
    user = str(hosts.shared.parent / "user")
    own = {"HOME": user, "RAY_TMPDIR": user, "RAY_AUTH_MODE": "token"}
    own["PATH"] = f"{_BIN}:{os.environ['PATH']}"
    return {**{k: v for k, v in os.environ.items() if not k.startswith("RAY_")}, **own}


def _run(hosts: Hosts, *command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=_environment(hosts)
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _config(hosts: Hosts) -> Path:
    """The shipped configuration, with these addresses and nothing to install."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster/onprem/ray_config.yaml").read_text())
    config["provider"] |= {"head_ip": hosts.head.ip, "worker_ips": [w.ip for w in hosts.workers]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["setup_commands"] = []
    user = hosts.shared.parent / "user"
    (user / ".ray").mkdir(parents=True)
    (user / ".ray" / "auth_token").write_text(TOKEN)
    config["file_mounts"] = {"~/.ray/auth_token": str(user / ".ray" / "auth_token")}
    head, workers = (config[f"{kind}_start_ray_commands"] for kind in ("head", "worker"))
    for commands, more in ((head, ""), (workers, "--num-cpus=1 ")):
        commands[-1] = commands[-1].replace("ray start", f"{HEALTH} ray start") + f" {more}{SMALL}"
    path = user / "ray_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def launched(running: Cluster) -> Iterator[Path]:
    """The configuration of a cluster that is up."""
    hosts = running.hosts
    running.stop()
    path = _config(hosts)
    _run(hosts, "ray", "up", "-y", "--no-config-cache", str(path))
    workers = "from ray.util.state import list_nodes; print(len(list_nodes()))"
    wait_until(
        lambda: hosts.head.run(f'python -c "{workers}"').stdout.strip() == "3", "workers come", 90
    )
    yield path
    _run(hosts, "ray", "down", "-y", str(path))
    for host in hosts:
        wait_until(
            lambda host=host: "raylet" not in host.run("ps -eo comm").stdout,  # type: ignore[misc]
            f"{host.name} goes on without its cluster",
            40,
        )


def test_ray_submit_gives_the_table_of_the_local_command(
    launched: Path, running: Cluster, ratings: Path, undisturbed: Path, expected: pd.DataFrame
) -> None:
    """The name of the data has a space and a quote."""
    storage = running.hosts.shared / "submitted"
    command = [*SEARCH, "--dataset", str(ratings), "--storage", str(storage)]
    submit = [sys.executable, str(ROOT / "cluster/submit.py"), str(launched), *command]
    _run(running.hosts, *submit)
    pd.testing.assert_frame_equal(read_table(storage / "run"), expected)
    here = {p.relative_to(undisturbed).parts[0] for p in undisturbed.rglob("*")}
    there = {p.relative_to(storage / "run").parts[0] for p in (storage / "run").rglob("*")}
    assert here == there, "the same folder of results"
