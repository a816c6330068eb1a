"""What every trainable must keep to: finite metrics, learning, exact resume, hands off the data."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.trainables import LEARNERS, checkpoint, get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import (
    Learner,
    check_metric,
    is_better,
    num_parameters,
    seed_everything,
)
from raysweep.trainables.optim import OPTIMIZERS
from raysweep.trainables.trainer import Trainer, TrainingDivergedError

Class = type[Learner[Any]]
# Fields that make a family small enough for the tiny data.
SMALL: dict[str, dict[str, Any]] = {
    "char_rnn": {
        "hidden_size": 32,
        "embedding_size": 8,
        "sequence_length": 10,
        "output_dropout": 0.1,
    },
    "word_vectors": {"window": 5, "embedding_size": 8, "hidden_size": 16},
}
# Their gradients are bounded (log loss, cut gradients): no step size makes anything infinite.
BOUNDED = {"char_rnn", "word_vectors"}


def build(learner_class: Class, dataset: Dataset, **fields: Any) -> Learner[Any]:
    small = SMALL.get(learner_class.name, {})
    values = {"epochs": 4, "batch_size": 64, "learning_rate": 0.01, **small, **fields}
    return learner_class(learner_class.config_class.create(values), dataset.arrays)


def weights(learner: Learner[Any]) -> dict[str, Any]:
    return {k: v.clone() for k, v in learner.model.state_dict().items()}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def digest(arrays: Any) -> dict[str, str]:
    return {
        name: hashlib.sha256(value.tobytes()).hexdigest()
        for name, value in arrays.items()
        if isinstance(value, np.ndarray)
    }


def test_the_registry_is_not_empty() -> None:
    assert LEARNERS


def test_an_unknown_trainable_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'matrix_factorization'"):
        get_learner("matrix_factorisation")


def test_the_class_says_what_it_is(learner_class: Class) -> None:
    assert LEARNERS[learner_class.name].endswith(f":{learner_class.__name__}")
    assert learner_class.summary.strip()
    assert learner_class.metrics
    assert set(learner_class.metrics.values()) <= {"min", "max"}
    assert all(name.startswith("val_") for name in learner_class.metrics)


def test_an_epoch_reports_the_declared_metrics(learner_class: Class, tiny_dataset: Dataset) -> None:
    result = Trainer(build(learner_class, tiny_dataset, schedule="constant")).run_epoch()
    assert result["epoch"] == 1
    assert result["learning_rate"] == 0.01
    assert set(learner_class.metrics) <= set(result)
    assert "train_loss" in result
    assert all(isinstance(v, (int, float)) and math.isfinite(v) for v in result.values())


def test_numbers_too_small_for_a_float_are_zero_in_training(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    torch.set_flush_denormal(False)
    Trainer(build(learner_class, tiny_dataset)).run_epoch()
    assert not torch.full((64,), 1e-30).mul(1e-10).any()


def test_the_loss_goes_down(learner_class: Class, tiny_dataset: Dataset) -> None:
    learner = build(learner_class, tiny_dataset, epochs=6)
    losses = [Trainer(learner).run_epoch()["train_loss"] for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]


def test_weights_are_counted_and_not_drawn(learner_class: Class, tiny_dataset: Dataset) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    learner = build(learner_class, tiny_dataset)
    torch.random.set_rng_state(before)
    counted = num_parameters(learner_class, learner.config, tiny_dataset.arrays)
    assert counted == sum(each.numel() for each in learner.model.parameters()) > 0
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_equals_one_that_never_stopped(
    learner_class: Class, tiny_dataset: Dataset, tmp_path: Path, optimizer: str
) -> None:
    straight = build(learner_class, tiny_dataset, optimizer=optimizer)
    expected = [Trainer(straight).run_epoch() for _ in range(4)]

    first = build(learner_class, tiny_dataset, optimizer=optimizer)
    results = [Trainer(first).run_epoch() for _ in range(2)]
    checkpoint.save(Storage(tmp_path), "state", first.state_dict(), {})
    torch.manual_seed(12345)
    second = build(learner_class, tiny_dataset, optimizer=optimizer)
    second.load_state_dict(checkpoint.load(Storage(tmp_path), "state")[0])
    results += [Trainer(second).run_epoch() for _ in range(2)]

    assert results == expected
    assert equal(weights(straight), weights(second))


def test_a_state_before_the_first_epoch_can_be_loaded(
    learner_class: Class, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    checkpoint.save(Storage(tmp_path), "s", build(learner_class, tiny_dataset).state_dict(), {})
    loaded = build(learner_class, tiny_dataset)
    loaded.load_state_dict(checkpoint.load(Storage(tmp_path), "s")[0])
    assert Trainer(loaded).run_epoch() == Trainer(build(learner_class, tiny_dataset)).run_epoch()


def test_a_loaded_state_keeps_the_new_learners_settings(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    donor = build(learner_class, tiny_dataset, learning_rate=0.02)
    Trainer(donor).run_epoch()
    taker = build(learner_class, tiny_dataset, learning_rate=0.004, schedule="constant")
    taker.load_state_dict(donor.state_dict())
    assert equal(weights(donor), weights(taker))
    assert Trainer(taker).run_epoch()["learning_rate"] == 0.004
    assert taker.epoch == 2


def test_the_same_seed_gives_the_same_and_another_seed_does_not(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    one, same, other = (build(learner_class, tiny_dataset, seed=s) for s in (3, 3, 4))
    assert equal(weights(one), weights(same))
    assert not equal(weights(one), weights(other))
    results = [Trainer(learner).run_epoch() for learner in (one, same, other)]
    assert results[0] == results[1]
    assert results[0]["train_loss"] != results[2]["train_loss"]


def test_other_random_numbers_in_between_change_nothing(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    one, other = build(learner_class, tiny_dataset), build(learner_class, tiny_dataset)
    Trainer(one).run_epoch()
    expected = Trainer(one).run_epoch()
    Trainer(other).run_epoch()
    torch.rand(17)
    np.random.default_rng().random(3)
    assert Trainer(other).run_epoch() == expected


def test_the_data_are_never_written_to(learner_class: Class, tiny_dataset: Dataset) -> None:
    before = digest(tiny_dataset.arrays), digest(tiny_dataset.test)
    assert before[0]
    learner = build(learner_class, tiny_dataset)
    Trainer(learner).run_epoch()
    learner.test(tiny_dataset.test)
    assert (digest(tiny_dataset.arrays), digest(tiny_dataset.test)) == before


def test_validation_examples_can_be_trained_on_in_the_end(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    together = tiny_dataset.with_validation()
    parts = [name.removeprefix("val_") for name in tiny_dataset.arrays if name.startswith("val_")]
    assert parts
    for part in parts:
        own, more = (tiny_dataset.arrays[f"{kind}_{part}"] for kind in ("train", "val"))
        assert np.array_equal(together.arrays[f"train_{part}"], np.concatenate([own, more]))
    assert together.test is tiny_dataset.test
    assert together.fingerprint != tiny_dataset.fingerprint
    learner = build(learner_class, together)
    assert learner.num_batches() >= build(learner_class, tiny_dataset).num_batches()
    assert np.isfinite(Trainer(learner).run_epoch()["train_loss"])


def test_streamed_data_are_not_put_together(tiny_dataset: Dataset) -> None:
    streamed = dataclasses.replace(
        tiny_dataset, arrays={**tiny_dataset.arrays, "train_stream": object()}
    )
    with pytest.raises(UserError, match="leave --refit out"):
        streamed.with_validation()


def test_embeddings_name_every_vector_once(learner_class: Class, tiny_dataset: Dataset) -> None:
    learner = build(learner_class, tiny_dataset)
    Trainer(learner).run_epoch()
    before = weights(learner)
    for name, found in learner.embeddings(tiny_dataset.info).items():
        assert name.isalpha()
        assert found.vectors.dtype == np.float32
        assert found.vectors.shape[0] == len(found) > 0
        assert np.isfinite(found.vectors).all()
        assert len(set(found.labels)) == len(found)
        for column in found.columns.values():
            assert len(column) == len(found)
            assert all(isinstance(text, str) and text.isprintable() for text in column)
        assert all(label.strip() for label in found.labels)
        found.vectors.fill(9.0)
    assert equal(before, weights(learner)), "the vectors are copies"


def test_no_rating_is_in_two_sets(ratings_dataset: Dataset) -> None:
    both = {**ratings_dataset.arrays, **ratings_dataset.test}
    pairs = {
        s: set(zip(both[f"{s}_user"].tolist(), both[f"{s}_item"].tolist(), strict=True))
        for s in ("train", "val", "test")
    }
    assert sum(map(len, pairs.values())) == len(set.union(*pairs.values())) == 500


def test_the_test_metrics_are_those_of_the_validation(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    result = build(learner_class, tiny_dataset).test(tiny_dataset.test)
    assert {n.replace("val_", "test_", 1) for n in learner_class.metrics} <= set(result)
    assert all(math.isfinite(v) for v in result.values())


def test_the_metrics_are_what_they_are_called(ratings_dataset: Dataset) -> None:
    learner = build(get_learner("matrix_factorization"), ratings_dataset)
    Trainer(learner).run_epoch()
    arrays = ratings_dataset.arrays
    user, item = (torch.from_numpy(arrays[f"val_{n}"].copy()) for n in ("user", "item"))
    with torch.inference_mode():
        error = learner.model(user, item).clamp(1, 5).numpy() - arrays["val_rating"]
    result = learner.validate()
    assert result["val_mse"] == pytest.approx(np.mean(error.astype(np.float64) ** 2), rel=1e-6)
    assert result["val_rmse"] == pytest.approx(result["val_mse"] ** 0.5)
    assert result["val_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)


def test_a_learning_rate_far_too_high_is_reported_as_such(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    wild = {"optimizer": "sgd", "learning_rate": 10.0, "schedule": "constant", "epochs": 30}
    learner = build(learner_class, tiny_dataset, **wild)
    if learner_class.name in BOUNDED:
        assert all(math.isfinite(Trainer(learner).run_epoch()["val_loss"]) for _ in range(30))
        return
    with pytest.raises(TrainingDivergedError, match="learning_rate=10 is probably too high"):
        all(Trainer(learner).run_epoch() for _ in range(30))


def test_the_last_batch_may_be_smaller_and_none_is_lost(
    learner_class: Class, tiny_dataset: Dataset
) -> None:
    learner = build(learner_class, tiny_dataset, batch_size=64)
    batches = list(learner.batches(seed_everything(0, 1)))
    assert len(batches) == learner.num_batches()
    one = build(learner_class, tiny_dataset, batch_size=1_000_000)
    assert one.num_batches() == 1
    sizes = [len(batch[0]) for batch in batches]
    assert max(sizes) == 64
    assert sum(sizes) == len(next(one.batches(seed_everything(0, 1)))[0])


def test_every_epoch_has_its_own_order(learner_class: Class, tiny_dataset: Dataset) -> None:
    learner = build(learner_class, tiny_dataset)
    first, again, second = (next(learner.batches(seed_everything(0, e)))[0] for e in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_training_draws_anew_in_every_epoch_and_for_every_seed(
    learner_class: Class, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    original = learner_class.batches

    def spy(self: Any, generator: torch.Generator) -> Any:
        drawn.append(generator.initial_seed())
        return original(self, generator)

    monkeypatch.setattr(learner_class, "batches", spy)
    for seed in (0, 1, 0):
        learner = build(learner_class, tiny_dataset, seed=seed)
        Trainer(learner).run_epoch()
        Trainer(learner).run_epoch()
    assert len(set(drawn[:4])) == 4
    assert drawn[4:] == drawn[:2]


def test_a_test_metric_is_refused(learner_class: Class) -> None:
    for name in learner_class.metrics:
        assert check_metric(learner_class, name) == name
        with pytest.raises(UserError, match="must not see the test set"):
            check_metric(learner_class, name.replace("val_", "test_", 1))


def test_an_unknown_metric_gets_the_nearest(learner_class: Class) -> None:
    name = next(iter(learner_class.metrics))
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        check_metric(learner_class, name + "x")


@pytest.mark.parametrize(
    ("value", "than", "mode", "expected"),
    [
        (1.0, None, "min", True),
        (1.0, 2.0, "min", True),
        (2.0, 1.0, "min", False),
        (2.0, 1.0, "max", True),
        (1.0, 2.0, "max", False),
        (1.0, 1.0, "min", False),
        (1.0, 1.0, "max", False),
    ],
)
def test_better_is_strictly_better(
    value: float, than: float | None, mode: str, expected: bool
) -> None:
    assert is_better(value, than, mode) is expected
