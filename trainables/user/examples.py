"""Examples that do not fit into memory, read by PyTorch's `DataLoader` as they are needed.

Whatever reads them, an epoch is the same to the bit: the order of examples comes from the generator
of the epoch, and each example is read with random numbers seeded by the epoch and by its number.
How many processes read ahead, and how many share the batches, changes nothing.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset

from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.trainables.parallel import PartialBatch
from raysweep.trainables.user.pairs import Batch, Failure, Form
from raysweep.trainables.user.readers import Chain, IndexedReader, Part, StreamReader, identity

__all__ = ["Examples", "IndexedExamples", "StreamedExamples", "is_stream"]

# What is evaluated at once depends on the data alone, so that equal weights have equal metrics.
_CHUNK_ROWS, _CHUNK_BYTES = 256, 16 << 20
_SAMPLED = 16  # examples that a digest reads


def is_stream(dataset: Any) -> bool:
    """Whether a dataset can only be read from its beginning."""
    if isinstance(dataset, IterableDataset):
        return True
    return hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__")


@dataclass(frozen=True)
class Examples(ABC):
    """The examples of one set, which stay where they are until they are read.

    Attributes:
        dataset: PyTorch's, of pairs of an input and its label.
        name: "train", "val" or "test".
        form: shape and type of the first training example, which all others have.
        loader_workers: processes that read ahead; 0 for none.
    """

    dataset: Any
    name: str
    form: Form
    loader_workers: int = 0

    @abstractmethod
    def __len__(self) -> int:
        """How many there are; a stream of unknown length is read to its end once."""

    @abstractmethod
    def __getitem__(self, rows: slice) -> Examples:
        """Neighbouring ones, from `rows.start` to before `rows.stop`."""

    @abstractmethod
    def joined(self, other: Any) -> Examples:
        """These and then others; raises UserError where they are of another kind."""

    @abstractmethod
    def epoch(
        self,
        generator: torch.Generator,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        num_workers: int = 1,
    ) -> Iterator[Batch | PartialBatch]:
        """Batches of all examples in a random order.

        Args:
            generator: which the order is drawn from.
            epoch: its number, from 1.
            batch_size: examples of a batch; the last one may be smaller.
            rank: this process among those that share each batch, from 0.
            num_workers: how many these are.

        Yields:
            inputs [n, ...] and labels [n, ...] on the CPU; of indexed examples, and with other
            processes, this one's rows of them.

        Raises:
            UserError: an example cannot be read, or is no pair of numbers in the form of the first.
        """

    @abstractmethod
    def chunks(self) -> Iterator[Batch]:
        """All examples in order, so many at a time as fit into little memory; as of `epoch`."""

    @abstractmethod
    def digest(self) -> str:
        """A hash of what can be known without reading everything.

        It covers the dataset's class with its source where that is the user's own, the number of
        examples, which of them are in this set, and some examples.
        """

    @property
    def _chunk(self) -> int:
        size = math.prod(self.form.input_shape) * self.form.input_dtype.itemsize
        return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(size, 1)))

    def _load(self, reader: Any, sampler: Iterable[Any] | None, num_workers: int) -> Iterator[Any]:
        """What a reader reads, here or in other processes; it makes batches by itself."""
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            # Its seeds for other processes would be drawn from the global generator.
            generator=torch.Generator(),
            # Code that came from another machine could not be sent on to a process that is new.
            multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        )
        try:
            batches = iter(loader)
            while (batch := next(batches, None)) is not None:
                if isinstance(batch, Failure):
                    batch.raise_again()
                yield batch
        except OSError as error:  # which a trial would take for one of the run's storage
            raise UserError(
                f"{self.name} examples cannot be read ahead (loader_workers={num_workers}): {error}"
            ) from error


def _as_it_is(batch: Any) -> Any:
    return batch


@dataclass(frozen=True)
class IndexedExamples(Examples):
    """Examples of a map-style dataset.

    Attributes:
        rows: their numbers in the dataset, int64 [n].
    """

    rows: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> IndexedExamples:
        return dataclasses.replace(self, rows=self.rows[rows])

    def joined(self, other: Any) -> IndexedExamples:
        """These and then others of the same or of another map-style dataset."""
        if not isinstance(other, IndexedExamples):
            raise _of_two_kinds()
        if other.dataset is self.dataset:
            return dataclasses.replace(self, rows=np.concatenate([self.rows, other.rows]))
        rows = np.concatenate([self.rows, other.rows + len(self.dataset)])
        both: Any = ConcatDataset([self.dataset, other.dataset])
        return dataclasses.replace(self, dataset=both, rows=rows)

    def epoch(
        self,
        generator: torch.Generator,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        num_workers: int = 1,
    ) -> Iterator[Batch | PartialBatch]:
        """See `Examples`; each process reads its own rows alone."""
        order = torch.randperm(len(self), generator=generator)
        base = int(torch.randint(2**62, (1,), generator=generator))
        groups = _Groups(self.rows[order.numpy()], batch_size, rank, num_workers)
        for number, batch in enumerate(self._read(groups, base)):
            if num_workers == 1:
                yield batch
            else:
                first, end, total = groups.own(number)
                yield PartialBatch(batch, torch.arange(first, end), total)

    def chunks(self) -> Iterator[Batch]:
        """See `Examples`."""
        return self._read(_Groups(self.rows, self._chunk), 0)

    def _read(self, groups: _Groups, base: int) -> Iterator[Batch]:
        reader = IndexedReader(self.dataset, self.name, self.form, base)
        return self._load(reader, groups, min(self.loader_workers, len(groups)))

    def digest(self) -> str:
        """See `Examples`; the examples are spread over the set."""
        some = np.linspace(0, len(self) - 1, min(_SAMPLED, len(self))).astype(int)
        read = next(self._read(_Groups(self.rows[some], _SAMPLED), 0))
        about = (identity(self.dataset), len(self.dataset), self.rows)
        return fingerprint(*about, *(column.numpy() for column in read))


@dataclass(frozen=True)
class _Groups:
    """Which examples a process reads of each batch.

    Attributes:
        rows: of all batches, one after another, int64 [n].
        size: rows of a batch; the last one may be smaller.
        rank: the process among those that share batches.
        num_workers: how many these are.
    """

    rows: np.ndarray
    size: int
    rank: int = 0
    num_workers: int = 1

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def own(self, number: int) -> tuple[int, int, int]:
        """Of a batch the first row of this process, the one after its last, and all rows."""
        total = min(self.size, len(self.rows) - number * self.size)
        first, end = (total * k // self.num_workers for k in (self.rank, self.rank + 1))
        return first, end, total

    def __iter__(self) -> Iterator[np.ndarray]:
        for number in range(len(self)):
            start, (first, end, _) = number * self.size, self.own(number)
            yield self.rows[start + first : start + end]


@dataclass(frozen=True)
class StreamedExamples(Examples):
    """Examples of a dataset that is read from its beginning.

    Attributes:
        start: the first of them, counted from the beginning of the stream.
        stop: the one after the last; None for the end of the stream.
        shuffle_buffer: examples in memory at a time, which the next one is drawn from.
    """

    start: int = 0
    stop: int | None = None
    shuffle_buffer: int = 1

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        if self.stop is not None:
            return self.stop - self.start
        return sum(len(labels) for _, labels in self.chunks())

    def __getitem__(self, rows: slice) -> StreamedExamples:
        first, end, _ = rows.indices(len(self))
        return dataclasses.replace(self, start=self.start + first, stop=self.start + end)

    def joined(self, other: Any) -> StreamedExamples:
        """These and then others of another stream."""
        if not isinstance(other, StreamedExamples):
            raise _of_two_kinds()
        both = Chain((self._part, other._part))
        return dataclasses.replace(self, dataset=both, start=0, stop=len(self) + len(other))

    def epoch(
        self,
        generator: torch.Generator,
        epoch: int,
        batch_size: int,
        rank: int = 0,
        num_workers: int = 1,
    ) -> Iterator[Batch | PartialBatch]:
        """See `Examples`; all processes read the whole stream."""
        base = int(torch.randint(2**62, (1,), generator=generator))
        return self._read(base, epoch, batch_size, self.shuffle_buffer)

    def chunks(self) -> Iterator[Batch]:
        """See `Examples`; as of epoch 0."""
        return self._read(0, 0, self._chunk)

    def _read(self, base: int, epoch: int, size: int, buffer: int = 1) -> Iterator[Batch]:
        # Several processes would read it several times, or in an order that depends on them.
        num_workers = min(self.loader_workers, 1)
        return self._load(StreamReader(self._part, base, epoch, size, buffer), None, num_workers)

    @property
    def _part(self) -> Part:
        return Part(self.dataset, self.name, self.form, self.start, self.stop)

    def digest(self) -> str:
        """See `Examples`; the examples are the first ones."""
        few = self.start + _SAMPLED if self.stop is None else min(self.stop, self.start + _SAMPLED)
        some = dataclasses.replace(self._part, stop=few)
        parts = list(StreamReader(some, 0, 0, _SAMPLED, 1, short=True))
        for part in parts:
            if isinstance(part, Failure):
                part.raise_again()
        if not parts:
            raise UserError(f"{self.name} has no examples")
        about = (identity(self.dataset), self.start, self.stop, self.shuffle_buffer)
        return fingerprint(*about, *(column.numpy() for part in parts for column in part))


def _of_two_kinds() -> UserError:
    return UserError(
        "--refit needs training and validation set of one kind, and one of them is a stream; leave "
        "--refit out"
    )
