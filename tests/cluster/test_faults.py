"""Hosts are lost in mid-work, and the results are those of an undisturbed command."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from raysweep.data.features.shards import read_split
from tests.helpers import read_table, without_times, write_noise_images

from .running import SEARCH, Cluster, finish, raysweep, wait_until

pytestmark = pytest.mark.timeout(500)


def events(run: Path, kind: str) -> list[dict[str, object]]:
    """The ledger's lines of one kind, of those that are whole."""
    ledger = run / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in records if event["event"] == kind]


def assert_nothing_twice(run: Path) -> None:
    epochs = Counter((e["index"], e["result"]["epoch"]) for e in events(run, "result"))  # type: ignore[index]
    assert set(epochs.values()) == {1}
    assert set(Counter(e["index"] for e in events(run, "trial")).values()) == {1}


@pytest.mark.parametrize("fault", ["cut", "kill", "drain"])
def test_a_search_loses_a_host(
    fault: str, cluster: Cluster, expected: pd.DataFrame, ratings: Path, tmp_path: Path
) -> None:
    storage, log = cluster.hosts.shared / fault, tmp_path / "log"
    command = [*SEARCH, "--dataset", str(ratings), "--storage", str(storage)]
    process = cluster.begin(command, log)
    run, host = storage / "run", cluster.hosts.workers[1]
    wait_until(lambda: len(events(run, "result")) >= 8 or process.poll() is not None, "a result")
    assert process.poll() is None, log.read_text()
    getattr(cluster, fault)(host)
    try:
        finish(process, log)
    finally:
        host.fix()
    assert_nothing_twice(run)
    pd.testing.assert_frame_equal(read_table(run), expected)


def test_a_search_that_pauses_trials_loses_a_host(
    cluster: Cluster, ratings: Path, tmp_path: Path
) -> None:
    # In this order whatever happens, so that there is a table to compare with.
    words = "--searcher curves --deterministic --budget 4 --epochs 6 --set batch_size=1 --json"
    search = ["tune", "matrix_factorization", "l2", *words.split(), "--name", "run"]
    search += ["--dataset", str(ratings), "--storage"]
    raysweep(*search, str(tmp_path / "alone"))
    storage, log = cluster.hosts.shared / "pauses", tmp_path / "log"
    process = cluster.begin([*search, str(storage)], log)
    run, host = storage / "run", cluster.hosts.workers[1]
    wait_until(lambda: len(events(run, "resume")) >= 2 or process.poll() is not None, "a pause")
    assert process.poll() is None, log.read_text()
    cluster.kill(host)
    try:
        finish(process, log)
    finally:
        host.fix()
    assert_nothing_twice(run)
    pd.testing.assert_frame_equal(read_table(run), read_table(tmp_path / "alone" / "run"))


def test_the_head_is_killed_and_the_same_command_goes_on(
    cluster: Cluster, expected: pd.DataFrame, ratings: Path, tmp_path: Path
) -> None:
    storage, log = cluster.hosts.shared / "head", tmp_path / "log"
    command = [*SEARCH, "--dataset", str(ratings), "--storage", str(storage)]
    process, run = cluster.begin(command, log), storage / "run"
    wait_until(lambda: len(events(run, "end")) >= 3 or process.poll() is not None, "ended trials")
    assert process.poll() is None, log.read_text()
    cluster.kill(cluster.hosts.head)
    process.wait(timeout=30)
    ended = [run / "trials" / f"{e['index']:05d}" for e in events(run, "end")]
    written = {p: p.stat().st_mtime_ns for folder in ended for p in folder.glob("*.safetensors")}
    cluster.start()
    finish(cluster.begin(command, log), log)
    assert written == {p: p.stat().st_mtime_ns for p in written}, "a finished trial ran again"
    assert_nothing_twice(run)
    pd.testing.assert_frame_equal(read_table(run), expected)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise, all different."""
    folder = tmp_path_factory.mktemp("images")
    return write_noise_images(folder, {"train": 60, "valid": 20})


def test_a_feature_job_loses_a_host_and_a_training_uses_what_it_made(
    cluster: Cluster, images: Path, tmp_path: Path
) -> None:
    out, log = cluster.hosts.shared / "features", tmp_path / "log"
    command = ["features", str(images), str(out), "--backbone", "timm/test_efficientnet"]
    command += ["--weights", "random", "--size", "96", "--shard-rows", "2", "--json"]
    process = cluster.begin(command, log)
    shards = lambda: len(list(out.glob("*.parquet")))  # noqa: E731
    wait_until(lambda: shards() >= 6 or process.poll() is not None, "shards")
    assert process.poll() is None, log.read_text()
    cluster.kill(cluster.hosts.workers[1])
    finish(process, log)
    for split, count in (("train", 60), ("valid", 20)):
        expected = [f"{split}/{'ab'[n % 2]}/{n:03}.jpg" for n in range(count)]
        assert sorted(read_split(str(out), split).ids) == sorted(expected), "every image once"
    _train_in_parallel(cluster, out, tmp_path)
    _two_that_fill_the_cluster(cluster, out, tmp_path)


def _train_in_parallel(cluster: Cluster, features: Path, tmp_path: Path) -> None:
    """Two workers on two hosts; one host dies; the losses are those of an undisturbed training."""
    command = ["train", "image_head", "--workers", "2", "--dataset", str(features), "--name", "run"]
    command += ["--epochs", "20", "--set", "batch_size=2", "--set", "hidden_sizes=64", "--json"]
    raysweep(*command, "--storage", str(tmp_path / "calm"))
    expected = [e["result"] for e in events(tmp_path / "calm" / "run", "result")]
    cluster.start()
    storage, log = cluster.hosts.shared / "parallel", tmp_path / "train.log"
    process = cluster.begin([*command, "--storage", str(storage)], log)
    run = storage / "run"
    wait_until(lambda: len(events(run, "result")) >= 3 or process.poll() is not None, "epochs")
    assert process.poll() is None, log.read_text()
    cluster.kill(cluster.hosts.workers[0])
    assert len(events(run, "result")) < 20, "the fault hit the middle of the training"
    cluster.start()
    finish(process, log)
    results = [e["result"] for e in events(run, "result")]
    assert without_times(results) == without_times(expected)  # type: ignore[arg-type]


def _two_that_fill_the_cluster(cluster: Cluster, features: Path, tmp_path: Path) -> None:
    """Each needs both hosts: one waits, and neither holds a host that the other one needs."""
    storage, logs = cluster.hosts.shared / "both", [tmp_path / "first", tmp_path / "second"]
    command = ["train", "image_head", "--workers", "2", "--dataset", str(features)]
    command += ["--epochs", "2", "--json", "--storage", str(storage), "--name"]
    processes = [cluster.begin([*command, log.name], log) for log in logs]
    for process, log in zip(processes, logs, strict=True):
        finish(process, log)
        assert len(events(storage / log.name, "result")) == 2
