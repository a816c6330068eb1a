"""A model of the user's on examples that are read as they are needed, and never all at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import raysweep
from raysweep.trainables.parallel import PartialBatch
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.user.tensors import TensorLearner

_RNG = np.random.default_rng(0)
LABELS = _RNG.integers(0, 3, 300)
INPUTS = (_RNG.normal(size=(300, 6)) + 3 * _RNG.normal(size=(3, 6))[LABELS]).astype(np.float32)


class Noisy(Dataset[Any]):
    """Points, each with noise from everybody's generators; remembers which were read."""

    def __init__(self) -> None:
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, row: int) -> Any:
        self.read.add(row)
        noise = torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002
        return INPUTS[row] + 0.1 * float(noise), int(LABELS[row])


class Points(IterableDataset[Any]):
    """Rows of the points, in an order of the epoch's; counts what was read."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end, self.epoch, self.num_read = first, end, -1, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        rows = np.arange(self.first, self.end)
        for row in np.roll(rows, self.epoch):
            self.num_read += 1
            yield torch.from_numpy(INPUTS[row]) + 0.1 * torch.rand(()), LABELS[row]


class Net(TensorLearner):
    """One hidden layer."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        batch_size: int = raysweep.option(32, "examples a step", low=1)

    @classmethod
    def load_data(cls, config: Any) -> Any:
        return raysweep.split(TensorDataset(torch.tensor(INPUTS), torch.tensor(LABELS)))

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


class Indexed(Net):
    @classmethod
    def load_data(cls, config: Any) -> Any:
        return raysweep.split(Noisy(), in_memory=False, seed=1)


def streams(**more: Any) -> Any:
    given = {"num_train": 200, "shuffle_buffer": 50, **more}
    return raysweep.from_torch(Points(0, 200), Points(200, 250), Points(250, 300), **given)


class Streamed(Net):
    @classmethod
    def load_data(cls, config: Any) -> Any:
        return streams()


def build(learner: type[TensorLearner], dataset: Any = None) -> TensorLearner:
    dataset = dataset or learner.load_data(None)
    return learner(learner.config_class.create({"epochs": 4}), dataset.arrays)


def trained(learner: TensorLearner, epochs: int = 2) -> tuple[list[Any], list[Tensor]]:
    trainer = Trainer(learner)
    results = [trainer.run_epoch() for _ in range(epochs)]
    return results, [each.detach().clone() for each in learner.model.parameters()]


def assert_equal(
    one: tuple[list[Any], list[Tensor]], other: tuple[list[Any], list[Tensor]]
) -> None:
    assert one[0] == other[0]
    assert all(map(torch.equal, one[1], other[1]))


def test_training_is_that_in_memory_to_the_bit() -> None:
    pairs = TensorDataset(torch.tensor(INPUTS), torch.tensor(LABELS))
    unread = raysweep.split(pairs, LABELS, in_memory=False)
    (in_memory, weights), (read, same) = trained(build(Net)), trained(build(Net, unread))
    assert all(map(torch.equal, weights, same))
    for one, other in zip(in_memory, read, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("learner", [Indexed, Streamed])
def test_a_resumed_training_equals_one_that_never_stopped(learner: type[Net]) -> None:
    calm, stopped = build(learner), build(learner)
    expected = trained(calm, 4)
    first, _ = trained(stopped)
    again = build(learner)
    again.load_state_dict(stopped.state_dict())
    again.validate()  # which changes nothing of what follows
    rest, weights = trained(again)
    assert_equal((first + rest, weights), expected)
    assert len({each["train_loss"] for each in expected[0]}) == 4


@pytest.mark.parametrize("learner", [Indexed, Streamed])
def test_processes_that_read_ahead_change_no_number(learner: type[Net]) -> None:
    ahead = streams(loader_workers=1)
    if learner is Indexed:
        ahead = raysweep.split(Noisy(), in_memory=False, seed=1, loader_workers=2)
    assert_equal(trained(build(learner, ahead)), trained(build(learner)))


@pytest.mark.parametrize("learner", [Indexed, Streamed])
def test_reading_draws_from_nobodys_generators(learner: type[Net]) -> None:
    examples = learner.load_data(None).arrays["train_examples"]

    def draws(read: bool) -> Any:
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        batches = examples.epoch(torch.Generator().manual_seed(0), 1, 32)
        drawn = []
        for _ in range(3):
            if read:
                next(batches)
            drawn += [float(torch.rand(())), np.random.rand(), random.random()]  # noqa: NPY002
        return drawn

    assert draws(read=True) == draws(read=False)


def test_no_example_of_the_test_set_is_read_by_a_trial() -> None:
    dataset = Indexed.load_data(None)
    learner = build(Indexed, dataset)
    noisy = learner.data["train_examples"].dataset
    noisy.read.clear()
    trained(learner)
    test = set(dataset.test["test_examples"].rows.tolist())
    assert len(test) == 45
    assert noisy.read == set(range(300)) - test
    assert sorted(dataset.arrays) == ["train_examples", "val_examples"]


def test_a_batch_is_read_when_it_is_asked_for() -> None:
    examples = Indexed.load_data(None).arrays["train_examples"]
    batches = examples.epoch(torch.Generator().manual_seed(0), 1, 10)
    examples.dataset.read.clear()
    for number in range(1, 4):
        next(batches)
        assert len(examples.dataset.read) == 10 * number


@pytest.mark.parametrize("buffer", [1, 16])
def test_a_stream_is_shuffled_with_as_many_in_memory_as_the_buffer_holds(buffer: int) -> None:
    examples = streams(shuffle_buffer=buffer).arrays["train_examples"]
    source = examples.dataset
    orders = []
    for epoch in (1, 2):
        source.num_read, labels, given = 0, [], 0
        for _, batch in examples.epoch(torch.Generator().manual_seed(epoch), epoch, 10):
            labels += batch.tolist()
            given += len(batch)
            assert source.num_read - given <= buffer
        orders.append(labels)
        assert given == 200
        assert source.epoch == epoch
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(LABELS[:200].tolist())
    assert orders[0] != orders[1]
    in_order = np.roll(LABELS[:200], 1).tolist()
    assert (orders[0] == in_order) == (buffer == 1)


def test_processes_that_share_batches_have_each_row_once() -> None:
    examples = Indexed.load_data(None).arrays["train_examples"]
    whole = list(examples.epoch(torch.Generator().manual_seed(0), 1, 32))
    parts = [
        list(examples.epoch(torch.Generator().manual_seed(0), 1, 32, rank, 3)) for rank in range(3)
    ]
    for batch, own in zip(whole, zip(*parts, strict=True), strict=True):
        assert all(isinstance(each, PartialBatch) and each.total == len(batch[0]) for each in own)
        assert torch.cat([each.rows for each in own]).tolist() == list(range(len(batch[0])))
        for number, column in enumerate(batch):
            assert torch.equal(torch.cat([each.columns[number] for each in own]), column)
    few = list(examples[:4].epoch(torch.Generator(), 1, 2, 0, 3))
    assert [len(each.columns[0]) for each in few] == [0, 0]


def test_rows_of_a_stream_are_counted_and_cut() -> None:
    learner = build(Streamed)
    val = learner.data["val_examples"]
    assert val.stop is None
    assert learner.num_validation_examples() == 50
    whole = next(iter(val.chunks()))[1]
    assert torch.equal(next(iter(val[10:30].chunks()))[1], whole[10:30])
    halves = [learner.validate(rows)["val_loss"] for rows in (slice(0, 25), slice(25, 50))]
    assert np.mean(halves) == pytest.approx(learner.validate()["val_loss"])


@pytest.mark.parametrize("learner", [Indexed, Streamed])
def test_a_refit_trains_on_validation_examples_too(learner: type[Net]) -> None:
    dataset = learner.load_data(None)
    whole = dataset.with_validation().arrays["train_examples"]
    train, val = (dataset.arrays[f"{name}_examples"] for name in ("train", "val"))
    assert len(whole) == len(train) + len(val)
    labels = [label for part in (train, val) for _, y in part.chunks() for label in y.tolist()]
    assert [label for _, y in whole.chunks() for label in y.tolist()] == labels
    results, _ = trained(build(learner, dataset.with_validation()), 1)
    assert np.isfinite(results[0]["train_loss"])


def test_a_refit_on_sets_of_two_kinds_is_refused() -> None:
    pairs = TensorDataset(torch.tensor(INPUTS[200:]), torch.tensor(LABELS[200:]))
    mixed = raysweep.from_torch(Points(0, 200), pairs, Points(250, 300), num_train=200)
    trained(build(Streamed, mixed), 1)
    with pytest.raises(raysweep.UserError, match=r"of one kind, .*; leave --refit out"):
        mixed.with_validation()
    apart = raysweep.from_torch(pairs, Noisy(), TensorDataset(*pairs[:50])).with_validation()
    assert len(apart.arrays["train_examples"]) == 400
    trained(build(Indexed, apart), 1)


class Judged(Indexed):
    metrics = {"val_f1_score": "max", "val_accuracy": "max", "val_loss": "min"}


def test_the_test_set_is_measured_in_chunks_like_the_validation_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = build(Judged)
    trained(learner, 1)
    val = learner.data["val_examples"]
    whole = learner.validate()
    assert set(whole) == {"val_loss", "val_accuracy", "val_f1_score"}
    monkeypatch.setattr("raysweep.trainables.user.examples._CHUNK_BYTES", 7 * 6 * 4)
    assert [len(labels) for _, labels in val.chunks()] == [7] * 6 + [3]
    measured = learner.test({"test_examples": val})
    assert {k.replace("test_", "val_"): v for k, v in measured.items()} == pytest.approx(whole)


def test_rows_are_predicted() -> None:
    learner = build(Indexed)
    with torch.inference_mode():
        answers = learner.predict(list(INPUTS[:4]))
    assert list(answers.columns) == ["source", "predicted", "p_0", "p_1", "p_2"]
    with pytest.raises(raysweep.UserError, match="the model takes 6"):
        learner.predict([[1.0, 2.0]])
