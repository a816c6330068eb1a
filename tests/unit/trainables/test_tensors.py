"""A model of the user's on tensors: split, trained, resumed, measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, nn

import raysweep
from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.registry import get_learner
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.user.tensors import TensorLearner, split


def points(values: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    inputs = rng.normal(size=(400, 6)) + 3 * rng.normal(size=(3, 6))[labels]
    return inputs, inputs @ rng.normal(size=6) if values else labels


class Net(TensorLearner):
    """One hidden layer."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(16, "units", low=1, high=64)

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        return split(*points(), seed=0)

    def build_model(self) -> nn.Module:
        width = self.config.width
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))


class Values(Net):
    metrics = {"val_rmse": "min", "val_loss": "min"}

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        return split(*points(values=True), seed=0)

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, self.config.width), nn.ReLU(), nn.LazyLinear(1))


def build(learner: type[TensorLearner] = Net, **config: Any) -> TensorLearner:
    dataset = learner.load_data(None)
    return learner(learner.config_class.create(config), dataset.arrays)


def test_names_and_fields_come_from_the_class() -> None:
    assert (Net.name, Net.summary) == ("Net", "One hidden layer.")
    assert "width" in Net.config_class.names()
    assert Values.config_class is Net.Config


def test_a_split_has_each_class_in_the_same_shares_and_every_example_once() -> None:
    inputs, labels = points()
    dataset = split(inputs, labels, seed=1)
    sets = [
        dataset.arrays["train_inputs"],
        dataset.arrays["val_inputs"],
        dataset.test["test_inputs"],
    ]
    assert [len(each) for each in sets] == pytest.approx([280, 60, 60], abs=2)
    together = np.concatenate(sets)
    np.testing.assert_array_equal(np.sort(together[:, 0]), np.sort(inputs[:, 0].astype(np.float32)))
    shares = np.bincount(labels) / 400
    for part in (dataset.arrays["val_labels"], dataset.test["test_labels"]):
        assert np.bincount(part) / len(part) == pytest.approx(shares, abs=0.02)
    assert split(inputs, labels, seed=1).fingerprint == dataset.fingerprint
    assert split(inputs, labels, seed=2).fingerprint != dataset.fingerprint
    assert not any(name.startswith("test") for name in dataset.arrays)


@pytest.mark.parametrize(
    ("inputs", "labels", "advice"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "3 inputs and 2 labels"),
        (np.array([[1.0], [np.nan]]), np.zeros(2, int), "example 1 has a value that is no finite"),
        (np.array([["a"], ["b"]]), np.zeros(2, int), "inputs must be numbers"),
        (np.zeros((2, 1)), np.zeros(2, int), "too few to split"),
        (np.zeros((9, 1)), np.arange(-1, 8), "a label is -1"),
        (np.zeros((0, 1)), np.zeros(0, int), "inputs must be numbers"),
    ],
)
def test_data_that_cannot_be_meant_are_refused(inputs: Any, labels: Any, advice: str) -> None:
    with pytest.raises(UserError, match=advice):
        split(inputs, labels)


def test_a_model_of_classes_learns_far_more_than_chance() -> None:
    trainer = Trainer(build(epochs=5, batch_size=32))
    accuracies = [trainer.run_epoch()["val_accuracy"] for _ in range(5)]
    assert accuracies[-1] > 0.9


def test_a_model_of_values_beats_the_mean() -> None:
    learner = build(Values, epochs=20, batch_size=32, learning_rate=0.02)
    trainer = Trainer(learner)
    error = [trainer.run_epoch()["val_rmse"] for _ in range(20)][-1]
    assert error < 0.5 * float(learner.data["val_labels"].std())


def test_a_resumed_training_equals_one_that_never_stopped() -> None:
    calm, stopped = (build(epochs=4, batch_size=32) for _ in range(2))
    trainer = Trainer(calm)
    expected = [trainer.run_epoch() for _ in range(4)]
    first = Trainer(stopped)
    results = [first.run_epoch() for _ in range(2)]
    again = build(epochs=4, batch_size=32)
    again.load_state_dict(stopped.state_dict())
    second = Trainer(again)
    results += [second.run_epoch() for _ in range(2)]
    assert results == expected


def test_the_test_set_is_measured_like_the_validation_set() -> None:
    learner = build(epochs=2, batch_size=32)
    Trainer(learner).run_epoch()
    test = {f"test_{n}": learner.data[f"val_{n}"].numpy() for n in ("inputs", "labels")}
    validated = learner.validate()
    measured = learner.test(test)
    assert measured == {k.replace("val_", "test_"): v for k, v in validated.items()}


def test_what_is_no_learner_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "half_a_model.py"
    file.write_text(
        "import raysweep\nclass Half(raysweep.TensorLearner):\n    pass\ndef train():\n    pass\n"
    )
    with pytest.raises(UserError, match="does not say build_model, load_data"):
        get_learner(f"{file}:Half")
    with pytest.raises(UserError, match="must take one argument, the configuration"):
        get_learner(f"{file}:train")


class Several(Net):
    """Several labels, judged by metrics of torchmetrics."""

    metrics = {"val_auroc": "max", "val_f1_score": "max", "val_accuracy": "max", "val_loss": "min"}

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        inputs, classes = points()
        return split(inputs, np.stack([classes > 0, classes == 1], 1).astype(int), seed=0)

    def build_model(self) -> nn.Module:
        return nn.Linear(6, 2)


class Judged(Values):
    metrics = {"val_r2_score": "max", "val_mean_absolute_error": "min", "val_rmse": "min"}


def test_several_labels_and_metrics_by_name() -> None:
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    learner = build(Several, epochs=8, learning_rate=0.05)
    trainer = Trainer(learner)
    first, *_, last = [trainer.run_epoch() for _ in range(8)]
    assert last["val_loss"] < first["val_loss"]
    labels = learner.data["val_labels"].numpy()
    logits = learner.model(learner.data["val_inputs"]).detach().numpy()
    assert last["val_auroc"] == pytest.approx(roc_auc_score(labels, logits, average="macro"))
    assert last["val_f1_score"] == pytest.approx(f1_score(labels, logits > 0, average="macro"))
    each = [accuracy_score(labels[:, k], logits[:, k] > 0) for k in range(2)]
    assert last["val_accuracy"] == pytest.approx(np.mean(each))
    with torch.inference_mode():
        answers = learner.predict(learner.data["val_inputs"][:5].numpy())
    assert list(answers.columns) == ["source", "predicted", "p_0", "p_1"]
    assert [("0" in p) for p in answers["predicted"]] == list(answers["p_0"] > 0.5)


def test_values_by_metrics_of_torchmetrics() -> None:
    from sklearn.metrics import mean_absolute_error, r2_score

    learner = build(Judged, epochs=2)
    result = Trainer(learner).run_epoch()
    labels = learner.data["val_labels"].numpy()
    outputs = learner.model(learner.data["val_inputs"]).detach().numpy().ravel()
    assert result["val_r2_score"] == pytest.approx(r2_score(labels, outputs), abs=1e-5)
    mae = mean_absolute_error(labels, outputs)
    assert result["val_mean_absolute_error"] == pytest.approx(mae, rel=1e-5)
    assert result["val_rmse"] ** 2 == pytest.approx(result["val_loss"])


def test_a_metric_that_nobody_has_is_named() -> None:
    class Wrong(Net):
        metrics = {"val_acuracy": "max"}

    class OfClasses(Values):
        metrics = {"val_auroc": "max"}

    with pytest.raises(UserError, match="no metric of that name; did you mean 'accuracy'"):
        Trainer(build(Wrong)).run_epoch()
    with pytest.raises(UserError, match="val_auroc is of classes"):
        Trainer(build(OfClasses)).run_epoch()


def test_a_dataset_of_pytorch_is_split_as_its_rows_would_be() -> None:
    from torch.utils.data import TensorDataset

    inputs, labels = (torch.tensor(each) for each in points())
    whole, pairs = split(inputs, labels), split(TensorDataset(inputs, labels))
    assert whole.fingerprint == pairs.fingerprint
    with pytest.raises(UserError, match="or a dataset of pairs"):
        split(inputs[0, 0])
    with pytest.raises(UserError, match="must be 0 or 1 each"):
        split(inputs, torch.ones(400, 2).long() * 2)


def test_batch_normalisation_is_not_split_among_processes() -> None:
    class Normed(Net):
        def build_model(self) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))

    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    try:
        with pytest.raises(UserError, match="leave --workers out"):
            Trainer(build(Normed), Parallel())
    finally:
        distributed.destroy_process_group()
