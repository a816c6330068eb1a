"""A search on three hosts gives the table of the same search on one machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ROOT, Cluster, launcher_environment, raysweep, table

pytestmark = pytest.mark.timeout(400)

SEARCH = ["tune", "matrix_factorization", "l2", "embedding_size", "--num-samples", "12"]
SEARCH += ["--searcher", "random", "--epochs", "9", "--json"]


@pytest.fixture(scope="module")
def local(
    cluster: Cluster, ratings: Path, tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("local")
    raysweep(*SEARCH, "--dataset", str(ratings), "--storage", str(folder), "--name", "run")
    frame = table(folder / "run")
    assert len(frame) == 12
    return frame


def test_ray_submit_gives_the_table_of_the_local_command(
    cluster: Cluster, local: pd.DataFrame, ratings: Path
) -> None:
    """The name of the data has a space and a quote."""
    storage = cluster.hosts.shared / "submitted"
    command = [*SEARCH, "--dataset", str(ratings), "--storage", str(storage), "--name", "run"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "cluster/submit.py"), str(cluster.config), *command],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **launcher_environment(cluster.hosts),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_frame_equal(table(storage / "run"), local)
