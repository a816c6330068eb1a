"""A search that pauses trials, for real: what becomes of it when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import raysweep
from tests.helpers import read_table, start_raysweep

pytestmark = [pytest.mark.usefixtures("nothing_is_left_behind"), pytest.mark.timeout(240)]

# Slow enough (about 0.2 s an epoch) for a kill to hit the middle of a trial.
_SEARCH = ["matrix_factorization", "l2", "--searcher", "curves", "--budget", "4", "--epochs", "6"]
_SEARCH += ["--set", "batch_size=1", "--json", "--name", "run"]


def start(folder: Path, ratings: Path, *more: str) -> subprocess.Popen[bytes]:
    return start_raysweep(
        "tune", *_SEARCH, "--dataset", str(ratings), "--storage", str(folder), *more
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors.decode()


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "run" / "ledger.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_for_events(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if len(events(folder)) >= count:
            return
        assert process.poll() is None, "the search ended before the fault"
        time.sleep(0.05)
    raise AssertionError("the search did not get going")


def kill(process: subprocess.Popen[bytes]) -> None:
    """The command with all that it has started, at once."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in family:
        one.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)


def test_a_killed_search_ends_with_the_same_table(tmp_path: Path, ratings_csv: Path) -> None:
    finish(start(tmp_path / "whole", ratings_csv, "--max-concurrent", "1"))
    expected = read_table(tmp_path / "whole" / "run")
    assert set(expected["status"]) == {"finished", "stopped"}
    assert any(event["event"] == "resume" for event in events(tmp_path / "whole"))

    folder = tmp_path / "killed"
    process = start(folder, ratings_csv, "--max-concurrent", "1")
    wait_for_events(folder, 14, process)
    kill(process)
    process = start(folder, ratings_csv, "--max-concurrent", "1")
    wait_for_events(folder, 28, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    for worker in [w for w in workers if "Trainable" in " ".join(w.cmdline())]:
        os.kill(worker.pid, signal.SIGKILL)
    finish(process)
    pd.testing.assert_frame_equal(read_table(folder / "run"), expected, check_exact=True)


def test_trials_go_on_in_any_process_and_a_larger_budget_extends(
    tmp_path: Path, ratings_csv: Path
) -> None:
    finish(start(tmp_path, ratings_csv))
    first = read_table(tmp_path / "run")
    assert 4 * 6 <= first["epochs"].sum() < 4 * 6 + 2 * 6, "the budget, and what was under way"
    assert (first["epochs"] == 6).sum() >= 2
    finish(start(tmp_path, ratings_csv, "--budget", "6"))
    assert raysweep.load_run(tmp_path / "run").complete
    more = read_table(tmp_path / "run")
    assert more["epochs"].sum() >= 6 * 6
    assert (more["epochs"][: len(first)] >= first["epochs"]).all()
    results = [
        (e["index"], e["result"]["epoch"]) for e in events(tmp_path) if e["event"] == "result"
    ]
    assert len(results) == len(set(results)), "no epoch is trained twice"
