"""`ray up`, `ray submit`, `ray down`, with the shipped configuration for one's own hosts."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import read_table

from .launching import run_as_user
from .running import ROOT, SEARCH, Cluster

pytestmark = pytest.mark.timeout(400)


def test_ray_submit_gives_the_table_of_the_local_command(
    launched: Path, running: Cluster, ratings: Path, undisturbed: Path, expected: pd.DataFrame
) -> None:
    """The name of the data has a space and a quote."""
    storage = running.hosts.shared / "submitted"
    command = [*SEARCH, "--dataset", str(ratings), "--storage", str(storage)]
    submit = [sys.executable, str(ROOT / "cluster/submit.py"), str(launched), *command]
    run_as_user(running.hosts, *submit)
    pd.testing.assert_frame_equal(read_table(storage / "run"), expected)
    here = {p.relative_to(undisturbed).parts[0] for p in undisturbed.rglob("*")}
    there = {p.relative_to(storage / "run").parts[0] for p in (storage / "run").rglob("*")}
    assert here == there, "the same folder of results"
