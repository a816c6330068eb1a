"""Runs seen from outside: listed, compared, exported and followed, without Ray."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.listing import (
    best_config,
    list_runs,
    read_config,
    run_differences,
    state,
    watch,
)
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import open_run
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

METRIC = "val_rmse"


def write_run(folder: Path, *, trials: int, asked: int, seed: int = 0, good: bool = True) -> Ledger:
    storage = Storage(folder)
    request = SearchRequest(
        task="matrix_factorization", spaces=("l2",), num_samples=asked, seed=seed
    ).checked()
    write_experiment(storage, request, "0123", "planted")
    ledger = Ledger(storage, METRIC, "min")
    for index in range(trials):
        ledger.add({}, request.config({"embedding_l2": 0.1 + 0.01 * index}).to_dict())
        if good:
            ledger.result(index, {"epoch": 1, METRIC: 1.0 - 0.01 * index, "time_epoch_s": 1.0})
        ledger.end(index, "finished" if good else "failed", "" if good else "ValueError: no")
    return ledger


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "over", trials=3, asked=3)
    write_run(folder / "cut", trials=2, asked=5, seed=1)
    write_run(folder / "bad", trials=1, asked=1, good=False)
    (folder / "no-run").mkdir()
    (folder / "no-run" / "notes.txt").write_text("mine")
    (folder / "torn").mkdir()
    (folder / "torn" / "experiment.yaml").write_text("request: {")
    return folder


def test_runs_are_listed_with_state_best_age_and_size(root: Path) -> None:
    rows = {row.name: row for row in list_runs(str(root))}
    assert set(rows) == {"over", "cut", "bad", "torn"}
    states = {name: row.state for name, row in rows.items()}
    assert states == {
        "over": "finished",
        "cut": "interrupted",
        "bad": "failed",
        "torn": "unreadable",
    }
    assert rows["over"].best == pytest.approx(0.98)
    assert rows["bad"].best is None
    size = sum(p.stat().st_size for p in (root / "over").rglob("*") if p.is_file())
    assert rows["over"].size == size
    assert 0.0 <= rows["over"].age_s < 600.0


def test_a_run_that_a_command_works_on_is_running(root: Path) -> None:
    from raysweep.core.locks import exclusive

    run = open_run(str(root / "cut"), "")
    with exclusive(run.storage, "it", "wait"):
        assert state(run) == "running"
    assert state(run) == "interrupted"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="raysweep tune"):
        list_runs(str(tmp_path / "nothing"))


def test_two_runs_differ_in_what_differs(root: Path) -> None:
    differences = run_differences(open_run("over", str(root)), open_run("cut", str(root)))
    assert "seed: 0 → 1" in differences["request"]
    assert "num_samples: 3 → 5" in differences["made with"]
    assert "trials: 3 → 2" in differences["result"]
    assert "embedding_l2: 0.12 → 0.11" in differences["best configuration"]
    same = run_differences(open_run("over", str(root)), open_run("over", str(root)))
    assert not any(same.values())


def test_the_best_configuration_goes_out_and_comes_back(root: Path, tmp_path: Path) -> None:
    run = open_run("over", str(root))
    path = tmp_path / "best.yaml"
    path.write_text(best_config(run))
    given = read_config(str(path))
    request = SearchRequest(**given, num_samples=1).checked()
    assert request.settings == run.ledger.ranked()[0].config
    assert request.data == run.request.data


def test_tuples_go_out_and_come_back(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "net")
    request = SearchRequest(
        task="ratings_net", settings={"hidden_sizes": "70,30"}, num_samples=1
    ).checked()
    write_experiment(storage, request, "0", "")
    ledger = Ledger(storage, METRIC, "min")
    ledger.add({}, request.config({}).to_dict())
    ledger.result(0, {"epoch": 1, METRIC: 1.0})
    path = tmp_path / "best.yaml"
    path.write_text(best_config(open_run(storage.uri, "")))
    given = read_config(str(path))
    assert SearchRequest(**given, num_samples=1).checked().settings["hidden_sizes"] == [70, 30]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("task: [", "not YAML"),
        ("settings: {}", "names no task"),
        ("task: sentimnt", "sentiment"),
        ("task: sentiment\nsetings: {}", "did you mean 'settings'"),
        ("task: sentiment\nsettings: 3", "not a table"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=fix):
        read_config(str(path))


def test_a_run_without_a_result_has_no_best(root: Path) -> None:
    with pytest.raises(UserError, match="no trial with a result"):
        best_config(open_run("bad", str(root)))


def test_watching_follows_a_run_to_its_end(tmp_path: Path) -> None:
    from raysweep.core.locks import exclusive

    ledger = write_run(tmp_path / "live", trials=1, asked=3)
    begun = threading.Event()

    def work() -> None:
        with exclusive(Storage(tmp_path / "live"), "it", "wait"):
            begun.set()
            for index in (1, 2):
                time.sleep(0.15)
                ledger.add({}, {**ledger.trials[0].config, "embedding_l2": 0.2 + index})
                ledger.result(index, {"epoch": 1, METRIC: 0.5})
                ledger.end(index, "finished")

    worker = threading.Thread(target=work)
    worker.start()
    begun.wait()
    seen = [len(run.ledger) for run in watch(open_run("live", str(tmp_path)), 0.05, quiet=True)]
    worker.join()
    assert seen[0] < 3
    assert seen[-1] == 3
    assert seen == sorted(seen)


def test_a_run_in_an_object_store_is_followed_without_writing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import fs

    def bucket(storage: Storage) -> tuple[Any, str]:
        return fs.LocalFileSystem(), storage.uri.replace("s3://bucket", str(tmp_path))

    monkeypatch.setattr(Storage, "_connect", bucket)
    ledger = write_run(tmp_path / "far", trials=2, asked=3)
    seen = []
    for run in watch(open_run("far", "s3://bucket"), 0.02, quiet=True):
        assert run.storage.local is None
        seen.append(len(run.ledger))
        if len(seen) == 2:  # another machine goes on
            ledger.add({}, {**ledger.trials[0].config, "embedding_l2": 0.3})
            ledger.result(2, {"epoch": 1, METRIC: 0.5})
            ledger.end(2, "finished")
    assert seen == [2, 2, 3]
    (row,) = list_runs("s3://bucket")
    assert (row.state, row.trials, row.best) == ("finished", 3, 0.5)
    assert row.size == sum(p.stat().st_size for p in (tmp_path / "far").iterdir())
    cut = write_run(tmp_path / "old", trials=1, asked=3)
    assert len(cut)
    long_ago = time.time() - 3600
    os.utime(tmp_path / "old" / "ledger.jsonl", (long_ago, long_ago))
    assert state(open_run("old", "s3://bucket")) == "interrupted"


def test_an_interrupted_run_is_looked_at_once(root: Path) -> None:
    assert len(list(watch(open_run("cut", str(root)), 0.05, quiet=True))) == 1


def test_the_commands_print_json(
    root: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    def ask(*arguments: str) -> str:
        code, output, _ = run_command(*arguments, "--storage", str(root))
        assert code == 0
        return output

    names = {row["name"] for row in json.loads(ask("runs", "--json"))}
    assert names == {"over", "cut", "bad", "torn"}
    assert json.loads(ask("show", "over", "--json"))["state"] == "finished"
    assert json.loads(ask("watch", "over", "--json"))["num_trials"] == 3
    assert "seed: 0 → 1" in json.loads(ask("diff", "over", "cut", "--json"))["request"]
    assert yaml.safe_load(ask("best", "over", "--export", "config"))["task"] == (
        "matrix_factorization"
    )
    assert "0.9800" in ask("show", "over")
    assert "val_rmse 0.9800" in ask("runs")
