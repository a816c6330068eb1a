"""Several processes that train one model give what one process gives."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from raysweep.cluster.models import batchnorm
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.run import run_search
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, write_shard
from raysweep.trainables import checkpoint
from raysweep.trainables.images.backbone_head import ReshapeRows
from tests.helpers import without_times

TWO = RunOptions(workers=2, quiet=True)
pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    means, shards = rng.normal(size=(3, 12)), []
    for split, number in (("train", 0), ("train", 1), ("train", 2), ("valid", 0)):
        labels = rng.integers(3, size=50).astype(np.int32)
        rows = Rows(
            features=(means[labels] + rng.normal(size=(50, 12))).astype(np.float16),
            labels=labels,
            heights=np.full(50, 100, np.int32),
            widths=np.full(50, 90, np.int32),
            ids=[f"{split}/{number}-{k}.jpg" for k in range(50)],
            variants=np.zeros(50, np.int16),
        )
        shards.append(Shard(name=f"{split}-{number}.parquet", split=split, rows=50))
        write_shard(Storage(folder), shards[-1].name, rows, split)
    ShardIndex(
        backbone="tiny",
        weights="random",
        weights_hash="0",
        preprocessing={},
        feature_shape=(12,),
        classes=("a", "b", "c"),
        counts={"train": 150, "valid": 50},
        shards=tuple(shards),
        complete=True,
    ).write(Storage(folder))
    return folder


def request_of(features: Path, *, epochs: int = 3, stream: bool = False) -> SearchRequest:
    settings = {
        "epochs": epochs,
        "hidden_sizes": "16,8",
        "dense_batchnorm": "true",
        "dense_dropout": "0.3",
        "input_dropout": "0.1",
        "batch_size": 17,
    }
    data = {"dataset": str(features), "stream": stream, "stream_buffer": 60}
    return SearchRequest(task="image_head", settings=settings, data=data, num_samples=1).checked()


def history(result: Any) -> list[dict[str, Any]]:
    assert result.ledger.trials[0].status == "finished", result.ledger.trials[0].error
    return list(result.ledger.trials[0].history)


def assert_same_curves(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)
        assert mine["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-5)
        assert mine["val_accuracy"] == pytest.approx(theirs["val_accuracy"], abs=1e-12)


@pytest.mark.parametrize("stream", [False, True])
def test_two_workers_give_the_curves_of_one(features: Path, tmp_path: Path, stream: bool) -> None:
    """With dropout and batch normalisation, and a batch size that no number divides."""
    request = request_of(features, stream=stream)
    alone = history(run_search(request, Storage(tmp_path / "one"), RunOptions(quiet=True)))
    result = run_search(request, Storage(tmp_path / "two"), TWO)
    assert_same_curves(alone, history(result))
    assert result.complete
    for name in ("trials.parquet", "best/best.safetensors", "trials/00000/last.safetensors"):
        assert (tmp_path / "two" / name).is_file()
    assert list((tmp_path / "two" / "trials" / "00000").glob("events.out.tfevents.*"))
    states = [
        checkpoint.load(Storage(tmp_path / n / "trials" / "00000"), "last.safetensors")[0]["model"]
        for n in ("one", "two")
    ]
    for key, value in states[0].items():
        np.testing.assert_allclose(states[1][key], value, atol=1e-4, err_msg=key)


def test_texts_train_in_two_processes_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for row in range(90):
        words = rng.choice(["the", "film", "was", "long", ("bad", "good")[row % 2]], size=6)
        lines.append(f"{' '.join(words)} {('bad', 'good')[row % 2]},{row % 2}")
    (tmp_path / "texts.csv").write_text("\n".join(lines))
    rates = dict.fromkeys(
        (f"{s}_dropout" for s in ("word", "embedding", "channel", "conv", "pool", "dense")), 0.0
    )
    request = SearchRequest(
        task="sentiment",
        settings={"epochs": 3, "batch_size": 16, "num_filters": 8, "precision": "float32", **rates},
        data={"dataset": str(tmp_path / "texts.csv"), "length": 8, "vocabulary_size": 10},
        num_samples=1,
    ).checked()
    alone = history(run_search(request, Storage(tmp_path / "one"), RunOptions(quiet=True)))
    result = run_search(request, Storage(tmp_path / "two"), TWO)
    assert_same_curves(alone, history(result))


def test_a_killed_worker_costs_no_epoch_and_changes_nothing(features: Path, tmp_path: Path) -> None:
    request = request_of(features, epochs=40)
    expected = history(run_search(request, Storage(tmp_path / "calm"), TWO))
    killed: list[int] = []

    def kill() -> None:
        ledger = tmp_path / "storm" / "ledger.jsonl"
        while not ledger.exists() or ledger.read_text().count('"result"') < 3:
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            if process.name().startswith("ray::RayTrainWo") and not killed:
                killed.append(process.pid)
                process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    stormy = history(run_search(request, Storage(tmp_path / "storm"), TWO))
    thread.join()
    assert killed
    assert without_times(stormy) == without_times(expected)


def test_a_family_that_cannot_share_batches_is_refused(tmp_path: Path, ratings_csv: Path) -> None:
    request = SearchRequest(
        task="matrix_factorization", data={"dataset": str(ratings_csv)}, num_samples=1
    ).checked()
    with pytest.raises(UserError, match="trains in one process only"):
        run_search(request, Storage(tmp_path), TWO)


def test_too_many_workers_are_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--workers 64 with 1 CPU and 0 GPU each do not fit"):
        run_search(request_of(features), Storage(tmp_path), RunOptions(workers=64, quiet=True))


def test_three_workers_measure_what_one_does(
    features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    head = torch.nn.Sequential(
        ReshapeRows((12,)), torch.nn.Linear(12, 5), torch.nn.Linear(5, 3)
    ).eval()
    monkeypatch.setattr(batchnorm, "backbone_head", lambda index, weights: head)
    one, three = (
        batchnorm.insert_into_backbone(str(features), ["1"], workers=workers).network[1][1]
        for workers in (1, 3)
    )
    for name, value in one.state_dict().items():
        torch.testing.assert_close(three.state_dict()[name], value, rtol=1e-6, atol=1e-9)
