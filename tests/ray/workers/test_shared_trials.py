"""Searches whose trials are each trained by several processes, on a cluster of four CPUs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import raysweep
from raysweep.cluster.machines.session import ray_session
from raysweep.core.errors import UserError
from tests.helpers import read_table

pytestmark = pytest.mark.timeout(300)
_NET = f"{Path(__file__).with_name('shared_net.py')}:Net"
_RANGES = ["width=4..64:log", "learning_rate=1e-3..1e-1:log"]
# SGD: Adam turns the rounding of a gradient near 0 into a step of full length.
_SETTINGS = {"optimizer": "sgd", "batch_size": 64, "pause": 0.1}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with ray_session(num_cpus=4) as module:
        yield module


def search(folder: Path, *, settings: dict[str, Any] | None = None, **more: Any) -> pd.DataFrame:
    """The table of a search of six trials, two processes each."""
    arguments: dict[str, Any] = {"workers": 2, "num_samples": 6, "epochs": 6, "search": _RANGES}
    given = {**_SETTINGS, **(settings or {})}
    run = raysweep.tune(
        _NET, settings=given, searcher="random", storage=folder, name="run", **{**arguments, **more}
    )
    assert run.complete
    return read_table(folder / "run")


@pytest.fixture(scope="module")
def undisturbed(ray: Any, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return search(tmp_path_factory.mktemp("undisturbed"))


def once(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """A thread that does something as soon as a condition holds."""

    def wait() -> None:
        for _ in range(4000):
            if condition():
                return then()
            time.sleep(0.02)
        return None

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def num_results(folder: Path) -> int:
    ledger = folder / "run" / "ledger.jsonl"
    return ledger.read_bytes().count(b'"event": "result"') if ledger.exists() else 0


def test_trials_of_two_processes_fill_the_cluster_and_have_the_table_of_single_ones(
    ray: Any, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    free: list[float] = []
    watch = once(
        lambda: num_results(tmp_path / "two") >= 4,
        lambda: free.append(ray.available_resources().get("CPU", 0.0)),
    )
    two = search(tmp_path / "two")
    watch.join()
    assert free == [0.0], "two trials of two processes on four CPUs"
    pd.testing.assert_frame_equal(two, undisturbed)
    assert set(two["status"]) == {"finished", "stopped"}
    one = search(tmp_path / "one", workers=1)
    numbers = one.select_dtypes("number").columns
    pd.testing.assert_frame_equal(two[numbers], one[numbers], rtol=1e-4)
    assert list(two["status"]) == list(one["status"])


@pytest.mark.parametrize("titles", [("_Other",), ("Trainable", ".train")])
def test_a_lost_process_costs_no_epoch(
    undisturbed: pd.DataFrame, tmp_path: Path, titles: tuple[str, ...]
) -> None:
    killed: list[int] = []

    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            if not killed and any(title in process.cmdline()[0] for title in titles):
                killed.append(process.pid)
                process.kill()

    thread = once(lambda: num_results(tmp_path) >= 3, kill)
    table = search(tmp_path)
    thread.join()
    assert killed
    pd.testing.assert_frame_equal(table, undisturbed)


def test_trials_that_do_not_fill_the_cluster_end_as_well(
    undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    three = search(tmp_path, workers=3)
    assert list(three["status"]) == list(undisturbed["status"])
    assert three["val_loss"].to_numpy() == pytest.approx(undisturbed["val_loss"], rel=1e-4)


def test_an_error_in_one_process_fails_its_trial_alone(ray: Any, tmp_path: Path) -> None:
    run = raysweep.tune(
        _NET,
        search="width=4,40,8",
        searcher="grid",
        scheduler="none",
        settings={**_SETTINGS, "fails": 30},
        epochs=2,
        workers=2,
        storage=tmp_path,
        name="run",
    )
    table = run.trials.set_index("config.width")
    assert table.loc[40, "status"] == "failed"
    assert "KeyError: 'the second process alone'" in table.loc[40, "error"]
    assert set(table.drop(index=40)["status"]) == {"finished"}


def test_what_does_not_go_together_is_refused(ray: Any, tmp_path: Path, ratings_csv: Path) -> None:
    with pytest.raises(UserError, match="--workers 64 with 1 CPU and 0 GPU each do not fit"):
        search(tmp_path / "many", workers=64)
    with pytest.raises(UserError, match="--pack 4 puts trials into one process"):
        search(tmp_path / "packed", pack=4)
    with pytest.raises(UserError, match="trains in one process only; leave --workers out"):
        raysweep.tune("matrix_factorization", "l2", dataset=ratings_csv, workers=2)
