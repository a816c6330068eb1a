"""A pack under Ray Tune, driven by hand: every member is the trial that it would be alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.tune.trainable import trainable as ray_trainable

from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.ray_trainable import LearnerTrainable, PackTrainable
from raysweep.trainables.trial_files import (
    BEST,
    INDEX,
    LAST,
    member_reports,
    pack_config,
    trial_folder,
)

OWN: list[dict[str, Any]] = [{}, {"embedding_l2": 0.5}, {"learning_rate": 0.1, "bias_l2": 0.0}]


def settings(index: int) -> dict[str, Any]:
    base = {"epochs": 4, "batch_size": 64, "num_factors": 4, "seed": 5}
    return {**base, **OWN[index], INDEX: index}


class Run:
    """Starts trials of one run, packed or alone."""

    def __init__(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        self.storage = Storage(folder)
        self.shared = {
            "learner_class": MatrixFactorization,
            "arrays": arrays,
            "run_uri": self.storage.uri,
            "metric": "val_rmse",
        }

    def pack(self, *indexes: int, **changed: Any) -> PackTrainable:
        shared = self.shared

        class Direct(PackTrainable):
            def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
                super().setup(config, **shared)

        return Direct(pack_config([{**settings(i), **changed.get(f"of_{i}", {})} for i in indexes]))

    def alone(self, index: int) -> LearnerTrainable:
        shared = self.shared

        class Direct(LearnerTrainable):
            def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
                super().setup(config, **shared)

        return Direct(settings(index))

    def state(self, index: int, name: str = LAST) -> tuple[dict[str, Any], dict[str, Any]]:
        return checkpoint.load(self.storage / trial_folder(index), name)


@pytest.fixture
def start(tmp_path: Path, ratings_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    return lambda name: Run(tmp_path / name, ratings_dataset.arrays)


def epochs(result: dict[str, Any]) -> dict[int, int]:
    return {index: report["epoch"] for index, report in member_reports({INDEX: 0}, result)}


def curves(results: list[dict[str, Any]]) -> dict[int, list[float]]:
    """Each trial's metric by epoch, as the ledger takes it: every epoch once."""
    found: dict[int, dict[int, float]] = {}
    for result in results:
        for index, report in member_reports({INDEX: 0}, result):
            content = json.loads(report["report"])
            found.setdefault(index, {})[content["epoch"]] = content["val_rmse"]
    return {index: [values[e] for e in sorted(values)] for index, values in found.items()}


def test_members_report_and_save_what_they_would_alone(start: Any) -> None:
    packed, single = start("packed"), start("single")
    pack = packed.pack(0, 1, 2)
    results = [pack.step() for _ in range(4)]
    assert [result["done"] for result in results] == [False, False, False, True]
    assert all(result["even"] for result in results)
    for index in range(3):
        trial = single.alone(index)
        expected = [json.loads(trial.step()["report"])["val_rmse"] for _ in range(4)]
        assert curves(results)[index] == pytest.approx(expected, rel=1e-4)
        for name in (LAST, BEST):
            (mine, head), (theirs, other) = packed.state(index, name), single.state(index, name)
            assert head["config"] == other["config"]
            assert head["best"]["epoch"] == other["best"]["epoch"]
            for weight, value in theirs["model"].items():
                torch.testing.assert_close(mine["model"][weight], value, rtol=1e-3, atol=1e-5)


def test_a_pack_can_be_taken_apart_between_any_two_epochs(start: Any) -> None:
    whole, parts = start("whole"), start("parts")
    pack = whole.pack(0, 1, 2)
    expected = curves([pack.step() for _ in range(4)])
    results = [parts.pack(0, 1, 2).step()]
    alone = parts.alone(1)
    alone.step(), alone.step()
    assert parts.state(1)[0]["epoch"] == 2
    # Member 1 is ahead: the others catch up, and then all go on together.
    pack = parts.pack(0, 1, 2)
    results += [pack.step() for _ in range(4)]
    assert [epochs(r) for r in results[1:3]] == [{0: 1, 1: 2, 2: 1}, {0: 2, 1: 2, 2: 2}]
    assert [r["even"] for r in results[1:3]] == [False, True]
    results[0]["members"] = [m for m in results[0]["members"] if m[INDEX] != 1]
    assert results[-1]["done"]
    for index, values in curves(results).items():
        assert values == pytest.approx(expected[index][-len(values) :], rel=1e-4)


def test_a_member_that_fails_fails_alone(start: Any) -> None:
    run = start("run")
    run.storage.write(f"{trial_folder(2)}/{LAST}", b"not a state")
    pack = run.pack(0, 1, 2)
    results = [pack.step() for _ in range(4)]
    assert "damaged" in dict(member_reports({INDEX: 0}, results[0]))[2]["failure"]
    assert [r["done"] for r in results] == [False, False, False, True]
    assert epochs({"members": [m for m in results[-1]["members"] if "epoch" in m]}) == {0: 4, 1: 4}


def test_a_member_that_diverges_says_so_and_the_others_finish(start: Any) -> None:
    run = start("run")
    shared = {"optimizer": "sgd", "schedule": "constant", "epochs": 12}
    changed = {f"of_{i}": {**shared, "learning_rate": rate} for i, rate in ((0, 0.01), (1, 10.0))}
    pack = run.pack(0, 1, **changed)
    result: dict[str, Any] = {"done": False}
    while not result["done"]:
        result = pack.step()
    zero, one = (report for _, report in member_reports({INDEX: 0}, result))
    assert one["failure"].startswith("TrainingDivergedError")
    assert zero["epoch"] == 12
    assert "not finite" in (run.storage / trial_folder(1)).read("error.txt").decode()


def test_ray_gets_no_state_to_keep(start: Any) -> None:
    pack = start("run").pack(0, 1)
    pack.step()
    assert pack.save().checkpoint is None


def test_a_storage_that_fails_is_not_the_trials_failure(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start("run")
    pack = run.pack(0, 1)
    pack.step()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Storage, "write", full)
    result = pack.step()
    assert result["storage_failure"] == "no space left on device"
    assert result["done"]
    assert result["members"] == []
    monkeypatch.undo()
    assert epochs(run.pack(0, 1).step()) == {0: 1, 1: 1}


def test_the_process_takes_another_pack(start: Any) -> None:
    run = start("run")
    pack = run.pack(0, 1)
    pack.step()
    assert pack.reset(pack_config([settings(2)]))
    assert epochs(pack.step()) == {2: 1}
    assert pack.reset(pack_config([settings(0)]))
    assert [epochs(pack.step()) for _ in range(2)] == [{0: 1}, {0: 2}]
