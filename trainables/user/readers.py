"""Reads PyTorch's datasets in whole batches, in the training's process or in one of a loader's."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.trainables.user.pairs import (
    Batch,
    Failure,
    Form,
    Pair,
    as_pair,
    own_randomness,
    seed,
    unreadable,
)

__all__ = ["Chain", "IndexedReader", "Part", "StreamReader", "identity"]

_INSTALLED = ("site-packages", "dist-packages")


class IndexedReader:
    """Reads whole batches by the numbers of their examples."""

    def __init__(self, dataset: Any, name: str, form: Form, base: int) -> None:
        self._dataset, self._name, self._form, self._base = dataset, name, form, base

    def __getitem__(self, numbers: np.ndarray) -> Batch | Failure:
        with own_randomness():
            try:
                pairs = [self._pair(number) for number in numbers.tolist()]
                return self._form.batch(self._name, numbers.tolist(), pairs)
            except UserError as error:
                return Failure.of(error)

    def _pair(self, number: int) -> Pair:
        seed(self._base, number)
        try:
            example = self._dataset[number]
        except Exception as error:
            raise unreadable(self._name, number, error) from error
        return as_pair(self._name, number, example)


@dataclass(frozen=True)
class Part:
    """Neighbouring examples of a stream.

    Attributes:
        dataset: which is read from its beginning.
        name: "train", "val" or "test".
        form: of all examples.
        start: the first of them, counted from the beginning of the stream.
        stop: the one after the last; None for the end of the stream.
    """

    dataset: Any
    name: str
    form: Form
    start: int = 0
    stop: int | None = None


class StreamReader(IterableDataset[Any]):
    """Reads a stream once, in whole batches.

    Args:
        part: which examples to read.
        base: of the seeds, and of what shuffling draws.
        epoch: what `set_epoch` is told where the dataset has it.
        size: examples of a batch.
        buffer: examples in memory at a time, which the next one is drawn from; 1 for
            the order of the stream.
        short: whether the stream may have fewer examples than are asked for.
    """

    def __init__(
        self,
        part: Part,
        base: int,
        epoch: int,
        size: int,
        buffer: int,
        short: bool = False,
    ) -> None:
        self._part, self._base, self._epoch = part, base, epoch
        self._size, self._buffer, self._short = size, buffer, short

    def __iter__(self) -> Iterator[Batch | Failure]:
        batches = self._batches()
        while True:
            with own_randomness():  # not beyond a yield: others draw until the next batch
                try:
                    batch: Batch | Failure | None = next(batches, None)
                except UserError as error:
                    batch = Failure.of(error)
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[Batch]:
        pairs = self._shuffled(self._pairs())
        while group := list(itertools.islice(pairs, self._size)):
            numbers, examples = zip(*group, strict=True)
            yield self._part.form.batch(self._part.name, numbers, examples)

    def _pairs(self) -> Iterator[tuple[int, Pair]]:
        part, dataset = self._part, self._part.dataset
        number, reading = 0, None
        while part.stop is None or number < part.stop:
            seed(self._base, number)
            try:
                if reading is None:
                    if hasattr(dataset, "set_epoch"):
                        dataset.set_epoch(self._epoch)
                    reading = iter(dataset)
                example = next(reading)
            except StopIteration:
                break
            except Exception as error:
                raise unreadable(part.name, number, error) from error
            if number >= part.start:
                yield number, as_pair(part.name, number, example)
            number += 1
        if part.stop is not None and number < part.stop and not self._short:
            raise UserError(
                f"{part.name}: the stream ended after {number:,} examples, and num_{part.name} "
                f"says {part.stop:,}; give the right number, or a dataset that has as many in "
                "every epoch"
            )

    def _shuffled(self, pairs: Iterator[tuple[int, Pair]]) -> Iterator[tuple[int, Pair]]:
        if self._buffer < 2:
            yield from pairs
            return
        rng = random.Random(self._base)
        waiting: list[tuple[int, Pair]] = []
        for each in pairs:
            if len(waiting) < self._buffer:
                waiting.append(each)
                continue
            place = rng.randrange(self._buffer)
            drawn, waiting[place] = waiting[place], each
            yield drawn
        rng.shuffle(waiting)
        yield from waiting


class Chain(IterableDataset[Any]):
    """The examples of several streams, one after another."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    def set_epoch(self, epoch: int) -> None:
        """Tells the streams that want to know it."""
        for part in self.parts:
            if hasattr(part.dataset, "set_epoch"):
                part.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        for part in self.parts:
            yield from itertools.islice(iter(part.dataset), part.start, part.stop)


def identity(dataset: Any) -> str:
    """The name of a dataset's class; with its source where that is in no installed package."""
    if isinstance(dataset, Subset):
        return f"subset {fingerprint(np.asarray(dataset.indices))} of {identity(dataset.dataset)}"
    if isinstance(dataset, ConcatDataset):
        return " and ".join(identity(each) for each in dataset.datasets)
    if isinstance(dataset, Chain):
        return " and then ".join(identity(each.dataset) for each in dataset.parts)
    kind = type(dataset)
    try:
        file = Path(inspect.getfile(kind))
        own = not any(part in _INSTALLED for part in file.parts)
        source = inspect.getsource(kind) if own else ""
    except (OSError, TypeError):  # typed into an interpreter, or compiled
        source = ""
    return f"{kind.__qualname__} {source}"
