"""The front of a ledger, and the best trial within limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import FINISHED, STOPPED, Ledger
from raysweep.cluster.runs.objectives.choice import best_where, pareto_front
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun, open_run
from raysweep.core.errors import UserError
from raysweep.core.objectives import Constraint, Objective
from raysweep.core.storage import Storage
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import num_parameters

OBJECTIVES = (Objective("val_accuracy", "max"), Objective("latency_ms", "min"))


def planted(folder: Path, constraints: tuple[Constraint, ...] = ()) -> Ledger:
    """Thirty trials of two epochs on a coarse grid; the first epoch is the worse one."""
    rng = np.random.default_rng(0)
    ledger = Ledger(
        Storage(folder), "val_accuracy", "max", objectives=OBJECTIVES, constraints=constraints
    )
    for index in range(30):
        ledger.add({}, {"x": index})
        accuracy, latency = rng.integers(1, 9, 2) / 10
        for epoch, share in ((1, 0.5), (2, 1.0)):
            result = {"val_accuracy": accuracy * share, "latency_ms": latency}
            ledger.result(index, {"epoch": epoch, **result})
        ledger.end(index, FINISHED)
    ledger.add({}, {"x": "without a result"})
    return ledger


def test_nothing_beats_a_trial_of_the_front_and_something_every_other(tmp_path: Path) -> None:
    ledger = planted(tmp_path)
    front = pareto_front(ledger)
    values = {t.index: (t.history[1]["val_accuracy"], t.history[1]["latency_ms"])
              for t in ledger if t.history}  # fmt: skip
    for index, (accuracy, latency) in values.items():
        beaten = any(
            a >= accuracy and b <= latency and (a, b) != (accuracy, latency)
            for a, b in values.values()
        )
        assert beaten != (index in [t.index for t in front])
    accuracies = [values[t.index][0] for t in front]
    assert accuracies == sorted(accuracies, reverse=True)


def test_what_breaks_a_constraint_is_neither_best_nor_on_the_front(tmp_path: Path) -> None:
    limit = Constraint("latency_ms", "<=", 0.3)
    ledger = planted(tmp_path, (limit,))
    assert 0 < len(ledger.ranked()) < 30
    for trial in (*ledger.ranked(), *pareto_front(ledger)):
        assert trial.history[1]["latency_ms"] <= 0.3
    free = planted(tmp_path / "free")
    assert (
        free.ranked()[0].history[1]["val_accuracy"]
        > (ledger.ranked()[0].history[1]["val_accuracy"])
    )


def test_the_front_of_an_empty_ledger_is_empty(tmp_path: Path) -> None:
    assert pareto_front(Ledger(Storage(tmp_path), "val", "min", objectives=OBJECTIVES)) == []


@pytest.fixture
def run(tmp_path: Path, ratings_dataset: Dataset) -> SavedRun:
    """Three finished trials, each larger and better than the one before, and one stopped."""
    storage = Storage(tmp_path / "run")
    request = SearchRequest(
        task="matrix_factorization", spaces=("embedding_size",), num_samples=4
    ).checked()
    write_experiment(storage, request, ratings_dataset.fingerprint, "planted")
    ledger = Ledger(storage, "val_rmse", "min")
    for index, (factors, rmse) in enumerate([(2, 0.9), (4, 0.8), (8, 0.7), (16, 1.5)]):
        ledger.add({}, request.config({"num_factors": factors}).to_dict())
        ledger.result(index, {"epoch": 1, "val_rmse": rmse, "time_epoch_s": 0.1 * factors})
        ledger.end(index, STOPPED if index == 3 else FINISHED)
    saved = open_run(storage.uri, "")
    return SavedRun(
        storage, saved.request, saved.ledger, ratings_dataset.fingerprint, loaded=ratings_dataset
    )


def test_the_best_within_a_limit_of_the_size_is_found_though_no_size_was_measured(
    run: SavedRun,
) -> None:
    learner, arrays = run.request.learner, run.dataset.arrays
    sizes = [
        num_parameters(learner, learner.config_class.create(t.config), arrays) for t in run.ledger
    ]
    assert sizes == sorted(sizes)
    assert best_where(run, []).index == 2
    assert best_where(run, [f"num_parameters<{sizes[2]}"]).index == 1
    assert best_where(run, [f"num_parameters<={sizes[0]}"]).index == 0
    assert best_where(run, ["time_epoch_s<0.5", "val_rmse>=0.85"]).index == 0


def test_limits_that_nothing_keeps_or_that_name_nothing_are_refused(run: SavedRun) -> None:
    with pytest.raises(UserError, match=r"none of 4 trials keeps to val_rmse<0.1; the nearest"):
        best_where(run, ["val_rmse<0.1"])
    with pytest.raises(UserError, match="no trial has a latency_ms"):
        best_where(run, ["latency_ms<3"])
