"""Three real hosts for all tests here, a Ray cluster on them, and ratings that they share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import read_table, write_ratings

from .hosts import Hosts, missing, three_hosts
from .launching import launch_config, run_as_user
from .running import ROOT, SEARCH, SECRET, TOKEN, Cluster, raysweep, wait_until


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    reason = missing()
    if reason:
        pytest.skip(f"building hosts {reason}")
    # A runner that is out of patience must not leave hosts behind.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
    environment = {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token"}
    folder = tmp_path_factory.mktemp("hosts")
    with three_hosts(folder, Path(sys.executable).parent, environment) as built:
        for host in built:
            (host.home / ".ray").mkdir()
            (host.home / ".ray" / "auth_token").write_text(TOKEN)
            # Of the stores of all hosts; on instances it would be their role.
            (host.home / ".aws").mkdir()
            (host.home / ".aws" / "credentials").write_text(
                f"[default]\naws_access_key_id = someone\naws_secret_access_key = {SECRET}\n"
            )
        yield built


@pytest.fixture(scope="session")
def running(hosts: Hosts) -> Iterator[Cluster]:
    cluster = Cluster(hosts)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Three nodes, alive, whatever the test before did to them."""
    running.start()
    return running


@pytest.fixture(scope="session")
def ratings(hosts: Hosts) -> Path:
    """Ratings in a file whose name has a space and a quote."""
    return write_ratings(hosts.shared / "Ann's films.csv")


@pytest.fixture(scope="session")
def undisturbed(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the search, run on this machine alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    raysweep(*SEARCH, "--dataset", str(ratings), "--storage", str(folder))
    frame = read_table(folder / "run")
    assert len(frame) == 12
    assert set(frame["status"]) == {"finished", "stopped"}, "some trials stop, some finish"
    return folder / "run"


@pytest.fixture
def expected(undisturbed: Path) -> pd.DataFrame:
    """The table of the search, whatever happens meanwhile."""
    return read_table(undisturbed)


@pytest.fixture(scope="module")
def launched(running: Cluster) -> Iterator[Path]:
    """The configuration of a cluster that is up."""
    hosts = running.hosts
    running.stop()
    path = launch_config(hosts)
    run_as_user(hosts, "ray", "up", "-y", "--no-config-cache", str(path))
    workers = "from ray.util.state import list_nodes; print(len(list_nodes()))"
    wait_until(
        lambda: hosts.head.run(f'python -c "{workers}"').stdout.strip() == "3", "workers come", 90
    )
    yield path
    run_as_user(hosts, "ray", "down", "-y", str(path))
    for host in hosts:
        wait_until(
            lambda host=host: "raylet" not in host.run("ps -eo comm").stdout,  # type: ignore[misc]
            f"{host.name} goes on without its cluster",
            40,
        )
