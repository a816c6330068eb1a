"""Trainables of other libraries, searched as they are; docs/your_model.md has Lightning's and more.

Each goes on from its checkpoint: the callback or the loop is the one of Ray's own documentation.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

import raysweep

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(240)]


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two classes in four numbers: training inputs [200, 4] and labels, validation likewise."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 4))
    labels = (inputs[:, 0] + inputs[:, 1] ** 2 > 0.5).astype(np.int64)
    return inputs[:200], labels[:200], inputs[200:], labels[200:]


def xgboost_trees(config: dict[str, Any]) -> None:
    import xgboost
    from ray.tune.integration.xgboost import TuneReportCheckpointCallback

    inputs, labels, val_inputs, val_labels = points()
    saved = tune.get_checkpoint()
    callback = TuneReportCheckpointCallback({"val_error": "val-error"}, frequency=1)
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": "error", "nthread": 1, **config["trees"]},
        xgboost.DMatrix(inputs, labels),
        num_boost_round=6,
        evals=[(xgboost.DMatrix(val_inputs, val_labels), "val")],
        verbose_eval=False,
        xgb_model=callback.get_model(saved) if saved else None,
        callbacks=[callback],
    )


def lightgbm_trees(config: dict[str, Any]) -> None:
    import lightgbm
    from ray.tune.integration.lightgbm import TuneReportCheckpointCallback

    inputs, labels, val_inputs, val_labels = points()
    saved = tune.get_checkpoint()
    callback = TuneReportCheckpointCallback({"val_error": "val-binary_error"}, frequency=1)
    given = {"objective": "binary", "metric": "binary_error", "num_threads": 1, "verbosity": -1}
    lightgbm.train(
        {**given, **config["trees"]},
        lightgbm.Dataset(inputs, labels),
        num_boost_round=6,
        valid_sets=[lightgbm.Dataset(val_inputs, val_labels)],
        valid_names=["val"],
        init_model=callback.get_model(saved) if saved else None,
        callbacks=[callback],
    )


def sklearn_classifier(config: dict[str, Any]) -> None:
    from sklearn.linear_model import SGDClassifier

    inputs, labels, val_inputs, val_labels = points()
    model = SGDClassifier(loss="log_loss", alpha=config["alpha"], random_state=config["seed"])
    start = 0
    if saved := tune.get_checkpoint():
        with saved.as_directory() as folder:
            start, model = pickle.loads(Path(folder, "model.pkl").read_bytes())
    for epoch in range(start, 6):
        model.partial_fit(inputs, labels, classes=[0, 1])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.pkl").write_bytes(pickle.dumps((epoch + 1, model)))
            tune.report(
                {"val_error": 1 - model.score(val_inputs, val_labels)},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


def numpy_loop(config: dict[str, Any]) -> None:
    """Logistic regression by gradient steps, in NumPy alone."""
    inputs, labels, val_inputs, val_labels = points()
    weights, start = np.zeros(4), 0
    if saved := tune.get_checkpoint():
        with saved.as_directory() as folder:
            state = json.loads(Path(folder, "state.json").read_text())
            weights, start = np.array(state["weights"]), state["epoch"]
    for epoch in range(start, 6):
        p = 1 / (1 + np.exp(-inputs @ weights))  # [200]
        weights -= config["alpha"] * inputs.T @ (p - labels) / len(labels)  # [4]
        wrong = ((val_inputs @ weights > 0) != val_labels).mean()
        with tempfile.TemporaryDirectory() as folder:
            state = {"weights": weights.tolist(), "epoch": epoch + 1}
            Path(folder, "state.json").write_text(json.dumps(state))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"val_error": wrong}, checkpoint=checkpoint)


TREES = {"trees": {"max_depth": tune.randint(1, 6), "learning_rate": tune.loguniform(0.01, 1.0)}}
ALPHA = {"alpha": tune.loguniform(1e-5, 1.0)}


@pytest.mark.parametrize(
    ("code", "space"),
    [
        (xgboost_trees, TREES),
        (lightgbm_trees, TREES),
        (sklearn_classifier, ALPHA),
        (numpy_loop, ALPHA),
    ],
)
def test_a_library(
    code: Any, space: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paused = {"num_samples": 4, "metric": "val_error", "name": "search"}
    run = raysweep.tune(code, space, **paused, scheduler="none")
    assert run.complete
    assert set(run.trials["status"]) == {"finished"}
    assert set(run.trials["epochs"]) == {6}
    assert run.best["val_error"] < 0.45
    assert list((tmp_path / "runs/search/best/checkpoint").iterdir())
