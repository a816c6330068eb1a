"""Results go to a real S3 server, which loses, delays and refuses requests, or is down."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from raysweep.core.storage import Storage

from .faulty_store import FaultyStore, faulty_store
from .hosts import GATEWAY, Hosts
from .running import SEARCH, SECRET, Cluster, finish, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def store(hosts: Hosts) -> Iterator[FaultyStore]:
    with faulty_store(GATEWAY) as running:
        yield running


@pytest.fixture
def where(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Variables that say where the store is, for a shell; they are set here, too, with the keys."""
    address = {"AWS_ENDPOINT_URL": store.url, "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in {**address, **keys}.items():
        monkeypatch.setenv(name, value)
    return " ".join(f"{name}={value}" for name, value in address.items())


def _events(run: Storage) -> list[dict[str, object]]:
    try:
        return [json.loads(line) for line in run.read("ledger.jsonl").decode().splitlines()]
    except FileNotFoundError:
        return []


def _assert_whole(run: Storage, expected: pd.DataFrame) -> None:
    frame = pd.read_parquet(io.BytesIO(run.read("trials.parquet"))).drop(columns="time_total_s")
    pd.testing.assert_frame_equal(frame, expected)
    results = [e for e in _events(run) if e["event"] == "result"]
    assert set(Counter((e["index"], e["result"]["epoch"]) for e in results).values()) == {1}  # type: ignore[index]
    names = {name for name, _ in run.files()}
    assert {"best/best.safetensors", "best/projector_config.pbtxt"} <= names
    assert {"pictures/search.png", "pictures/effects.png"} <= names
    assert {f"trials/{index:05d}/events.out.tfevents.trial" for index in range(12)} <= names
    assert {f"trials/{index:05d}/last.safetensors" for index in range(12)} <= names
    for name in names:
        assert SECRET.encode() not in run.read(name), f"{name} holds a key"


def test_a_store_that_fails_now_and_then_and_one_that_stays_down(
    cluster: Cluster,
    store: FaultyStore,
    where: str,
    expected: pd.DataFrame,
    ratings: Path,
    tmp_path: Path,
) -> None:
    """Down in mid-work: exit 2, one message; then with errors: the same command goes on."""
    command = [*SEARCH, "--dataset", str(ratings), "--storage", "s3://bucket/runs"]
    run, log = Storage("s3://bucket/runs/run"), tmp_path / "log"
    process = cluster.begin(command, log, f"{where} RAYSWEEP_STORAGE_PATIENCE=5")
    begun = lambda: sum(name.endswith("last.safetensors") for name, _ in run.files())  # noqa: E731
    wait_until(lambda: begun() >= 3 or process.poll() is not None, "states in the store")
    assert process.poll() is None, log.read_text()
    store.mode = "down"
    try:
        assert process.wait(timeout=120) == 2, log.read_text()
    finally:
        store.mode = "well"
    message = log.read_text()
    assert "cannot be written any more" in message
    assert "run the same command" in message
    assert "Traceback" not in message
    assert SECRET not in message
    before = [e for e in _events(run) if e["event"] == "end"]
    assert len(before) < 12
    store.mode, store.faults = "errors", 0
    try:
        again = tmp_path / "again"
        finish(cluster.begin(command, again, f"{where} RAYSWEEP_STORAGE_PATIENCE=60"), again)
    finally:
        store.mode = "well"
    assert store.faults > 20
    _assert_whole(run, expected)
