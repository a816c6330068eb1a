"""Results go to a real S3 server, which loses, delays and refuses requests, or is down."""

from __future__ import annotations

import importlib.util
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from data.storage import Storage

from .faulty_store import FaultyStore, faulty_store
from .hosts import GATEWAY, Hosts
from .running import Cluster, finish, raysweep, table, wait_until

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not importlib.util.find_spec("moto") or not importlib.util.find_spec("flask_cors"),
        reason="needs moto's server",
    ),
]
_SEARCH = ["tune", "matrix_factorization", "l2", "--num-samples", "12", "--searcher", "random"]
_SEARCH += ["--epochs", "6", "--json", "--name", "run"]
_KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hidden-secret"}


@pytest.fixture(scope="module")
def store(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStore]:
    with faulty_store(GATEWAY, tmp_path_factory.mktemp("store") / "log") as running:
        yield running


@pytest.fixture
def on_store(
    store: FaultyStore, running: Cluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """The cluster, whose nodes have the keys, as by an instance's role."""
    where = {"AWS_ENDPOINT_URL": store.url, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**_KEYS, **where}.items():
        monkeypatch.setenv(name, value)
    running.stop()
    running.environment = " ".join(f"{k}={v}" for k, v in _KEYS.items())
    running.start()
    yield running
    running.environment = ""
    running.stop()


@pytest.fixture(scope="module")
def undisturbed(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    raysweep(*_SEARCH, "--dataset", str(ratings), "--storage", str(folder))
    return table(folder / "run")


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
    assert "best/best.safetensors" in names
    assert {f"trials/{index:05d}/last.safetensors" for index in range(12)} <= names
    for name in names:
        assert b"hidden-secret" not in run.read(name), f"{name} holds a key"


def test_a_store_that_fails_now_and_then_and_one_that_stays_down(
    on_store: Cluster,
    store: FaultyStore,
    undisturbed: pd.DataFrame,
    ratings: Path,
    tmp_path: Path,
) -> None:
    command = [*_SEARCH, "--dataset", str(ratings), "--storage", "s3://bucket/runs"]
    run, log = Storage("s3://bucket/runs/run"), tmp_path / "log"
    environment = f"{on_store.environment} AWS_ENDPOINT_URL={store.url} "
    environment += "AWS_DEFAULT_REGION=us-east-1 RAYSWEEP_STORAGE_PATIENCE=15"
    process = on_store.begin(command, log, environment)
    wait_until(lambda: len(_events(run)) >= 6 or process.poll() is not None, "events in the store")
    assert process.poll() is None, log.read_text()
    store.mode = "down"
    assert process.wait(timeout=90) == 2, log.read_text()
    store.mode = "well"
    said = log.read_text()
    assert "cannot be written any more" in said
    assert "run the same command" in said
    assert "Traceback" not in said
    assert "hidden-secret" not in said
    store.mode, store.faults = "errors", 0
    try:
        finish(on_store.begin(command, tmp_path / "again", environment), tmp_path / "again")
    finally:
        store.mode = "well"
    assert store.faults > 20
    _assert_whole(run, undisturbed)
