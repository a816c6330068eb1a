"""What datasets of PyTorch's are taken, how they are told apart, and what is refused."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import raysweep
from raysweep.trainables.user.from_torch import from_torch


class Pairs(Dataset[Any]):
    """Pairs as a function of their number."""

    def __init__(self, example: Callable[[int], Any], num: int = 40) -> None:
        self.example, self.num = example, num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, row: int) -> Any:
        return self.example(row)


class Lines(IterableDataset[Any]):
    """The same, one after another."""

    def __init__(self, example: Callable[[int], Any], num: int = 40) -> None:
        self.example, self.num = example, num

    def __iter__(self) -> Any:
        return map(self.example, range(self.num))


def good(row: int) -> Any:
    return np.full(3, row, np.float32), row % 2


def otherwise(wanted: int, example: Any) -> Callable[[int], Any]:
    return lambda row: example if row == wanted else good(row)


def fails(row: int) -> Any:
    if row == 7:
        raise FileNotFoundError("photos/7.jpg")
    return good(row)


def read_all(dataset: Any) -> None:
    sets = {**dataset.arrays, **dataset.test}
    for examples in sets.values():
        list(examples.chunks())


BAD = {
    "no pair": (otherwise(7, np.zeros(3)), r"train example 7 is a ndarray .* and no pair"),
    "three parts": (otherwise(7, (1, 2, 3)), r"is a tuple of 3 parts, and no pair; have the data"),
    "other shape": (otherwise(7, (np.zeros(4), 1)), r"example 7 is 4 \(float64|4 \(float32\)"),
    "other type": (otherwise(7, (np.zeros(3), 0.5)), r"label one number \(float32\), and the fir"),
    "ragged": (otherwise(7, ([[1], [2, 3]], 1)), r"example 7: its input is no array of numbers"),
    "no number": (otherwise(7, ("cat.jpg", 1)), r"7: its input is no array of numbers \(str\)"),
    "not finite": (
        otherwise(7, (np.array([1, np.nan, 2]), 1)),
        "train example 7: its input has a value that is no finite number",
    ),
    "below 0": (otherwise(7, (np.zeros(3), -1)), "classes are whole numbers from 0, but a .* -1"),
    "no file": (
        fails,
        r"example 7 cannot be read: FileNotFoundError: photos/7.jpg \(trials run .* absolute paths",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_an_example_that_cannot_be_meant_is_named(bad: str, stream: bool) -> None:
    example, message = BAD[bad]
    kind: Any = Lines if stream else Pairs
    more: dict[str, Any] = {"num_train": 40} if stream else {}
    with pytest.raises(raysweep.UserError, match=message):
        read_all(from_torch(kind(example), kind(good), kind(good), **more))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_message_is_the_same_from_a_process_that_reads_ahead(num_workers: int) -> None:
    dataset = from_torch(
        Lines(otherwise(30, (np.zeros(2), 1))),
        Pairs(good),
        Pairs(otherwise(9, (np.array([np.inf] * 3), 1))),
        num_train=40,
        loader_workers=num_workers,
    )
    with pytest.raises(raysweep.UserError, match=r"^train example 30 is 2 \(float32\)"):
        list(dataset.arrays["train_examples"].epoch(torch.Generator(), 1, 8))
    with pytest.raises(raysweep.UserError, match=r"^test example 9: its input has a value"):
        list(dataset.test["test_examples"].chunks())


_GOOD = TensorDataset(torch.zeros(5, 3), torch.zeros(5).long())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": DataLoader(_GOOD)}, "train is a DataLoader; give the dataset that it reads"),
        ({"train": iter([good(0)])}, "which can be read once"),
        ({"val": 5}, "val is a int, and no dataset"),
        ({"val": []}, "val has no examples"),
        ({"test": Lines(good, 0)}, "test has no examples"),
        ({"train": Lines(good)}, "stream of unknown length; .* num_train="),
        ({"train": Lines(good), "num_train": 0}, "num_train is 0"),
        ({"train": Lines(good), "num_train": 4, "loader_workers": 2}, "one process reads"),
        ({"num_train": 3}, r"num_train is for streams, .* range\(3\)"),
        ({"loader_workers": -1}, "too small"),
        ({"val": Pairs(lambda row: (np.zeros(2), 1))}, r"val example 0 is 2 \(float32\)"),
    ],
)
def test_what_is_no_dataset_is_refused(given: dict[str, Any], message: str) -> None:
    three = {"train": Pairs(good), "val": Pairs(good), "test": Pairs(good)}
    with pytest.raises(raysweep.UserError, match=message):
        from_torch(**{**three, **given})


def test_a_stream_that_ends_too_early_is_refused() -> None:
    dataset = from_torch(Lines(good), Lines(good), Lines(good), num_train=50, num_val=10)
    assert len(dataset.arrays["val_examples"]) == 10
    with pytest.raises(raysweep.UserError, match="ended after 40 examples, and num_train says 50"):
        list(dataset.arrays["train_examples"].epoch(torch.Generator(), 1, 8))


def test_one_dataset_for_two_sets_is_refused() -> None:
    with pytest.raises(raysweep.UserError, match="val and test are one dataset"):
        from_torch(Pairs(good), _GOOD, _GOOD)


def test_what_no_other_process_can_have_is_refused() -> None:
    locked = Pairs(good)
    locked.example = good if threading.Lock() is None else threading.Lock()  # type: ignore[assignment]
    with pytest.raises(raysweep.UserError, match=r"dataset cannot be sent .* open files in"):
        raysweep.split(locked, in_memory=False)


def test_a_split_has_the_classes_in_equal_shares_where_they_are_given() -> None:
    labels = np.arange(200) % 2
    dataset = raysweep.split(Pairs(good, 200), labels, in_memory=False, val=0.2, test=0.2)
    for examples in (*dataset.arrays.values(), *dataset.test.values()):
        assert labels[examples.rows].mean() == 0.5
    assert "120 to train, 40 to validate, 40 to test" in dataset.description
    with pytest.raises(raysweep.UserError, match="the dataset 200 examples; give the class of ea"):
        raysweep.split(Pairs(good, 200), labels[1:], in_memory=False)
    with pytest.raises(raysweep.UserError, match="a stream cannot be split"):
        raysweep.split(Lines(good), in_memory=False)
    with pytest.raises(raysweep.UserError, match="go with in_memory=False"):
        raysweep.split(_GOOD, loader_workers=1)


def test_a_fingerprint_tells_data_apart() -> None:
    def of(example: Any = good, num: int = 40, **more: Any) -> str:
        return raysweep.split(Pairs(example, num), in_memory=False, **more).fingerprint

    def streamed(example: Any = good, count: int = 40) -> str:
        val = Subset(Pairs(good), range(5))
        return from_torch(Lines(example), val, Pairs(good), num_train=count).fingerprint

    changed = otherwise(0, (np.ones(3, np.float32), 0))
    assert of() == of()
    assert of(fingerprint="v1") == of(changed, fingerprint="v1")
    every = [of(), of(lambda row: good(row + 1)), of(num=41), of(seed=1)]
    every += [of(fingerprint=v) for v in ("v1", "v2")] + [of(fingerprint="v1", seed=1)]
    every += [streamed(), streamed(changed), streamed(count=39)]
    assert streamed() == streamed()
    assert len(set(every)) == len(every)


def test_what_trials_get_can_be_pickled() -> None:
    dataset = from_torch(Lines(good), Pairs(good), Pairs(good), num_train=40)
    copy = pickle.loads(pickle.dumps(dict(dataset.arrays)))
    for name, examples in dataset.arrays.items():
        for one, other in zip(examples.chunks(), copy[name].chunks(), strict=True):
            assert all(map(torch.equal, one, other))
