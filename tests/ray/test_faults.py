"""Faults for real: processes are killed in mid-search, and the final table is the same.

Each test runs the command itself, as a user would, waits until a part of the search is done, kills,
and lets it end or runs it again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.helpers import read_table, start_raysweep

pytestmark = [pytest.mark.usefixtures("nothing_is_left_behind"), pytest.mark.timeout(240)]

_NUM_TRIALS = 6
# Slow enough (about 0.2 s an epoch) for a kill to hit the middle of a trial.
_SEARCH = ["matrix_factorization", "l2", "--searcher", "random", "--epochs", "9"]
_SEARCH += ["--num-samples", str(_NUM_TRIALS), "--set", "batch_size=1", "--json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, which a search fills within seconds."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def start(folder: Path, ratings_csv: Path) -> subprocess.Popen[bytes]:
    run = ["--dataset", str(ratings_csv), "--storage", str(folder), "--name", "run"]
    return start_raysweep("tune", *_SEARCH, *run)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors.decode()


def wait_for_results(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    ledger = folder / "run" / "ledger.jsonl"
    for _ in range(1200):
        if ledger.exists() and ledger.read_bytes().count(b'"event": "result"') >= count:
            return
        assert process.poll() is None, "the search ended before the fault"
        time.sleep(0.05)
    raise AssertionError("the search did not get going")


def title(process: psutil.Process) -> str:
    """The process's title; empty for one that is just ending."""
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


def workers(process: subprocess.Popen[bytes], *titles: str) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [c for c in children if any(t in title(c) for t in titles)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ratings_csv: Path) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder, ratings_csv))
    for state in folder.glob("run/trials/*/last.safetensors"):
        assert b"optimizer/" not in state.read_bytes(), "an ended trial keeps its weights alone"
    frame = read_table(folder / "run")
    assert len(frame) == _NUM_TRIALS
    assert set(frame["status"]) == {"finished", "stopped"}, "some trials stop, some finish"
    return frame


def _one_worker(process: subprocess.Popen[bytes]) -> None:
    busy = workers(process, "Trainable")
    assert busy, "no trial is running"
    busy[0].kill()


def _all_workers(process: subprocess.Popen[bytes]) -> None:
    for worker in workers(process, "Trainable", "IDLE"):
        worker.kill()


@pytest.mark.parametrize("kill", [_one_worker, _all_workers])
def test_a_search_survives_the_death_of_its_workers(
    kill: Callable[[subprocess.Popen[bytes]], None],
    undisturbed: pd.DataFrame,
    tmp_path: Path,
    ratings_csv: Path,
) -> None:
    process = start(tmp_path, ratings_csv)
    wait_for_results(tmp_path, 6, process)
    kill(process)
    finish(process)
    pd.testing.assert_frame_equal(read_table(tmp_path / "run"), undisturbed)


def test_the_command_can_be_killed_twice_and_run_again(
    undisturbed: pd.DataFrame, tmp_path: Path, ratings_csv: Path
) -> None:
    for lines in (4, 16):
        process = start(tmp_path, ratings_csv)
        wait_for_results(tmp_path, lines, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, ratings_csv))
    pd.testing.assert_frame_equal(read_table(tmp_path / "run"), undisturbed)


def test_a_killed_command_whose_trials_have_two_processes_goes_on(tmp_path: Path) -> None:
    """With two cores there is a place for one trial at a time."""
    net = Path(__file__).parent / "workers" / "shared_net.py"
    search = [f"{net}:Net", "--workers", "2", "--search", "width=4..64:log", "--set", "pause=0.1"]
    search += ["--num-samples", "4", "--epochs", "5", "--searcher", "random", "--json"]

    def begin(name: str) -> subprocess.Popen[bytes]:
        return start_raysweep("tune", *search, "--storage", str(tmp_path / name), "--name", "run")

    finish(begin("calm"))
    process = begin("storm")
    wait_for_results(tmp_path / "storm", 5, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finish(begin("storm"))
    calm, storm = (read_table(tmp_path / name / "run") for name in ("calm", "storm"))
    pd.testing.assert_frame_equal(storm, calm)


def test_a_killed_command_whose_examples_are_streamed_goes_on(tmp_path: Path) -> None:
    """Killed in the middle of epochs; processes that read ahead die with it."""
    net = Path(__file__).parent / "workers" / "unread_net.py"
    search = [f"{net}:Net", "--search", "width=4..64:log", "--data", "loader_workers=1"]
    search += ["--num-samples", "4", "--epochs", "5", "--searcher", "random", "--json"]

    def begin(name: str) -> subprocess.Popen[bytes]:
        return start_raysweep("tune", *search, "--storage", str(tmp_path / name), "--name", "run")

    finish(begin("calm"))
    process = begin("storm")
    wait_for_results(tmp_path / "storm", 5, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finish(begin("storm"))
    calm, storm = (read_table(tmp_path / name / "run") for name in ("calm", "storm"))
    pd.testing.assert_frame_equal(storm, calm)


def test_data_that_are_found_bad_while_ray_starts_are_told_of(tmp_path: Path) -> None:
    """The bad row is the last of many, so Ray is starting by the time that it is read."""
    rows = [f"{k % 9973},{k // 9973},{1 + k % 5}" for k in range(1_500_000)]
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(["user,item,rating", *rows, "7,7777,high"]) + "\n")
    process = start(tmp_path, bad)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, b""), errors.decode()
    message = errors.decode().strip().splitlines()
    assert len(message) == 1, message
    assert "high" in message[0]
    time.sleep(1)
    left = [p for p in psutil.process_iter() if _session_of(p) == process.pid]
    assert not left, "what was started for nothing is gone"


def _session_of(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(
    undisturbed: pd.DataFrame, tmp_path: Path, ratings_csv: Path
) -> None:
    process = start(tmp_path, ratings_csv)
    wait_for_results(tmp_path, 8, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    assert b"Traceback" not in errors
    assert b"stopping after the epochs under way" in errors
    assert b'"complete": false' in output
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "Ctrl-C leaves no process behind"
    finish(start(tmp_path, ratings_csv))
    pd.testing.assert_frame_equal(read_table(tmp_path / "run"), undisturbed)


def test_a_full_disk_ends_with_one_message_and_space_lets_it_go_on(
    undisturbed: pd.DataFrame, small_disk: Path, ratings_csv: Path
) -> None:
    process = start(small_disk, ratings_csv)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors.decode()
    assert b"No space left on device" in errors
    assert b"Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    finish(start(small_disk, ratings_csv))
    pd.testing.assert_frame_equal(read_table(small_disk / "run"), undisturbed)
