"""Data sets of PyTorch's datasets that are read as they are needed: examples need no memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from raysweep.core.config import option
from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint as hash_of
from raysweep.data.tables.stratified import stratified_split
from raysweep.trainables.dataset import DataConfig, Dataset
from raysweep.trainables.user.examples import (
    Examples,
    IndexedExamples,
    StreamedExamples,
    is_stream,
)
from raysweep.trainables.user.pairs import Form, as_pair, own_randomness, seed, unreadable

__all__ = ["VERBS", "LoaderConfig", "from_torch", "split_unread"]

VERBS = {"train": "train", "val": "validate", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderConfig(DataConfig):
    """The data's configuration of a model whose examples are read while it trains."""

    loader_workers: int = option(
        0, "processes of each trial that read examples ahead; 0 for none", low=0
    )


def from_torch(
    train: Any,
    val: Any,
    test: Any,
    *,
    num_train: int | None = None,
    num_val: int | None = None,
    num_test: int | None = None,
    shuffle_buffer: int = 1000,
    loader_workers: int = 0,
    fingerprint: str = "",
) -> Dataset:
    """A data set of three datasets of PyTorch's, whose examples are read as they are needed.

    Each is of pairs of an input and its label; see `raysweep.split` for what labels mean. A
    map-style one (`__getitem__` and `__len__`) is shuffled anew in each epoch. An iterable one is
    read from its beginning in each epoch, and shuffled in a buffer. Its order may depend on the
    epoch, which its method `set_epoch` is told where it has one: from 1 while training, 0 in
    validation and test. It has to be the same whenever the same epoch is read, so random numbers
    come from `torch`, `numpy.random` or `random`, which are seeded for each example.

    Args:
        train: to train on.
        val: to validate on; of the same kind if `confirm --refit` is to train on it.
        test: the sealed test set, which a search never sees.
        num_train: examples of an epoch, where `train` is iterable and has no `len`. It may have
            more, which are left out.
        num_val: the same of `val`; by default all that there are.
        num_test: the same of `test`; by default all that there are.
        shuffle_buffer: examples of an iterable `train` that are in memory at a time, from which the
            next one is drawn; 1 leaves them in their order.
        loader_workers: processes of each trial that read ahead; an iterable one is read by one at
            most. They change no number.
        fingerprint: a word for the contents, such as a version, by which a run notices that data
            changed. By default a hash of the datasets' classes (of classes of yours with their
            source), of their lengths and of 16 examples of each.

    Returns:
        A data set with `train_examples`, `val_examples` and, sealed, `test_examples`.

    Raises:
        UserError: a dataset is neither kind, is empty, or cannot be sent to other processes; the
            length of a stream is missing; examples are no pairs of numbers in one form.
    """
    given = {"train": (train, num_train), "val": (val, num_val), "test": (test, num_test)}
    _check(loader_workers, {name: dataset for name, (dataset, _) in given.items()})
    form = _form(train, 0)
    sets: dict[str, Examples] = {}
    for name, (dataset, count) in given.items():
        if is_stream(dataset):
            stop = count if count is not None else len(dataset) if _has_len(dataset) else None
            if name == "train" and stop is None:
                raise UserError(
                    "train is a stream of unknown length; say how many examples an epoch has: "
                    "num_train=…"
                )
            if stop is not None and stop < 1:
                raise UserError(f"num_{name} is {stop}; a set has at least one example")
            buffer = shuffle_buffer if name == "train" else 1
            sets[name] = StreamedExamples(dataset, name, form, loader_workers, 0, stop, buffer)
        elif count is not None:
            raise UserError(
                f"num_{name} is for streams, and {name} has {len(dataset):,} examples; leave it "
                f"out, or give torch.utils.data.Subset({name}, range({count}))"
            )
        else:
            rows = np.arange(len(dataset))
            sets[name] = IndexedExamples(dataset, name, form, loader_workers, rows)
    return _dataset(sets, fingerprint)


def split_unread(
    dataset: Any,
    labels: Any,
    *,
    seed: int,
    shares: Sequence[float],
    loader_workers: int,
    fingerprint: str,
    duplicates: bool,
) -> Dataset:
    """`raysweep.split` of a map-style dataset whose examples stay where they are.

    Args:
        dataset: of pairs of an input and its label.
        labels: classes of all examples, by which to split, [n]; None for any split.
        seed: of the split.
        shares: of training, validation and test set.
        loader_workers: as for `from_torch`.
        fingerprint: as for `from_torch`.
        duplicates: see `Dataset`.

    Raises:
        UserError: as of `from_torch`; another number of labels.
    """
    _check(loader_workers, {"dataset": dataset})
    if is_stream(dataset):
        raise UserError(
            "split takes a dataset with a length, whose examples can be read by their numbers; a "
            "stream cannot be split: give raysweep.from_torch one for each set"
        )
    groups = np.zeros(len(dataset), np.int64)
    if labels is not None:
        classes = np.asarray(labels)
        if classes.ndim != 1 or len(classes) != len(dataset):
            raise UserError(
                f"labels has the shape {classes.shape}, and the dataset {len(dataset):,} examples; "
                "give the class of each, or leave labels out"
            )
        groups = np.unique(classes, return_inverse=True)[1]
    parts = dict(zip(VERBS, stratified_split(groups, shares, seed), strict=True))
    form = _form(dataset, int(parts["train"][0]))
    sets = {n: IndexedExamples(dataset, n, form, loader_workers, r) for n, r in parts.items()}
    return _dataset(sets, fingerprint, duplicates)


def _dataset(sets: Mapping[str, Examples], word: str, duplicates: bool = False) -> Dataset:
    # A digest reads examples of each set, so that those of another form are noticed here.
    digests = [each.digest() for each in sets.values()]
    if word:
        lengths = [
            each.rows if isinstance(each, IndexedExamples) else getattr(each, "stop", None)
            for each in sets.values()
        ]
        digests = [hash_of(word, *lengths)]
    examples = {f"{name}_examples": each for name, each in sets.items()}
    sizes = ", ".join(f"{_size(each)} to {VERBS[name]}" for name, each in sets.items())
    return Dataset(
        arrays={name: each for name, each in examples.items() if not name.startswith("test_")},
        test={"test_examples": examples["test_examples"]},
        fingerprint=hash_of(*digests),
        description=f"examples, read as they are needed: {sizes}",
        duplicates=duplicates,
    )


def _size(examples: Examples) -> str:
    endless = isinstance(examples, StreamedExamples) and examples.stop is None
    return "a stream" if endless else f"{len(examples):,}"


def _has_len(dataset: Any) -> bool:
    try:
        len(dataset)
    except (TypeError, NotImplementedError):
        return False
    return True


def _check(loader_workers: int, datasets: Mapping[str, Any]) -> None:
    """Refuses what cannot be read again and again, in other processes."""
    for name, dataset in datasets.items():
        kind = type(dataset).__name__
        if isinstance(dataset, DataLoader):
            raise UserError(
                f"{name} is a DataLoader; give the dataset that it reads: batch_size and order are "
                "the model's, and loader_workers says how many processes read"
            )
        if is_stream(dataset):
            if iter(dataset) is dataset:
                raise UserError(
                    f"{name} is a {kind}, which can be read once; give a "
                    "torch.utils.data.IterableDataset, whose __iter__ begins anew"
                )
            if loader_workers > 1:
                raise UserError(
                    f"loader_workers={loader_workers}: {name} is a stream, which one process reads "
                    "in its order; use 0 or 1"
                )
        elif not hasattr(dataset, "__getitem__") or not _has_len(dataset):
            raise UserError(
                f"{name} is a {kind}, and no dataset: give a torch.utils.data.Dataset, with "
                "__getitem__ and __len__, or an IterableDataset"
            )
        elif not len(dataset):
            raise UserError(f"{name} has no examples")
        _check_sendable(name, dataset)
    if loader_workers < 0:
        raise UserError(f"loader_workers={loader_workers} is too small; it must be at least 0")
    names = list(datasets)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            if datasets[name] is datasets[other]:
                raise UserError(
                    f"{name} and {other} are one dataset; give different examples, or have "
                    "raysweep.split divide it"
                )


def _check_sendable(name: str, dataset: Any) -> None:
    """Refuses what no other process can be given, before Ray tries to."""
    from ray import cloudpickle

    try:
        cloudpickle.CloudPickler(_Nowhere()).dump(dataset)
    except Exception as error:
        raise UserError(
            f"{name} cannot be sent to other processes: {type(error).__name__}: {error}; keep "
            "paths in the dataset, and open files in __getitem__ or __iter__"
        ) from error


class _Nowhere:
    """A file that keeps nothing: a dataset may be large."""

    def write(self, data: Any) -> int:
        """Takes bytes."""
        return memoryview(data).nbytes


def _form(dataset: Any, number: int) -> Form:
    """The form of an example of the training set; of a stream the first."""
    with own_randomness():
        seed(0, number)
        try:
            if is_stream(dataset):
                if hasattr(dataset, "set_epoch"):
                    dataset.set_epoch(0)
                example = next(iter(dataset), None)
            else:
                example = dataset[number]
        except Exception as error:
            raise unreadable("train", number, error) from error
    if example is None:
        raise UserError("train has no examples")
    return Form.of(as_pair("train", number, example))
