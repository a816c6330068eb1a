"""Training features read from their shards while a model trains, for what exceeds memory.

Each epoch takes the shards in a new order, a group of them at a time, and shuffles the rows of a
group. One group is in memory while the next is being read. Training waits for an epoch's first
group, so that one is smaller. The order of rows depends on the seed alone, not on the number of
workers: each worker reads its share of a group's shards, and of every batch it gets the rows of
those shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard
from raysweep.data.features.shards import read_features

__all__ = ["FeatureStream", "StreamBatch"]

# The first group of an epoch is this part of a buffer: training waits for no more than that.
_FIRST = 4
# Where fewer than one row in so many of a shard is wanted, only the wanted rows stay in memory.
_FEW = 2


@dataclass(frozen=True)
class StreamBatch:
    """This worker's rows of a batch, m of them.

    Attributes:
        features: float16 [m, *shape].
        rows: their numbers in the training set, int64 [m].
        positions: where they stand in the whole batch, int64 [m], from 0.
        total: rows of the whole batch, of all workers.
    """

    features: np.ndarray
    rows: np.ndarray
    positions: np.ndarray
    total: int


@dataclass(frozen=True)
class FeatureStream:
    """The rows of a training set in their shards; row numbers count through the shards in order.

    Attributes:
        uri: folder of the shards.
        shape: of one row's features.
        shards: the shards in order.
        kept: for each shard which of its rows are training rows, int64.
        buffer: least number of rows of a group; a quarter of it for an epoch's first group.
    """

    uri: str
    shape: tuple[int, ...]
    shards: Sequence[Shard]
    kept: Sequence[np.ndarray]
    buffer: int

    def batches(
        self, seed: int, wanted: np.ndarray, batch_size: int, rank: int = 0, workers: int = 1
    ) -> Iterator[StreamBatch]:
        """Reads one epoch.

        Args:
            seed: of the order of rows.
            wanted: whether each training row takes part in this epoch, bool [n].
            batch_size: rows of a whole batch; the last one may be smaller.
            rank: this worker's number, from 0.
            workers: number of workers.

        Yields:
            Batches, equally many on every worker; where this worker has no row of one, m is 0.

        Raises:
            UserError: a shard is damaged or missing.
        """
        rng = np.random.default_rng(seed)
        groups = self._groups(rng.permutation(len(self.shards)))
        waiting = _Waiting.empty(self.shape)
        with ThreadPoolExecutor(1) as reader:
            read = partial(self._read, wanted, rank, workers, batch_size)
            coming = reader.submit(read, groups[0])
            for number in range(len(groups)):
                group = coming.result()
                if number + 1 < len(groups):
                    coming = reader.submit(read, groups[number + 1])
                waiting = waiting.followed_by(group, rng.permutation(len(group.rows)))
                last = number + 1 == len(groups)
                start = 0
                while len(waiting.rows) - start >= (1 if last else batch_size):
                    yield waiting.batch(start, start + batch_size)
                    start += batch_size
                waiting = waiting.rest(start)

    def _groups(self, order: np.ndarray) -> list[list[tuple[int, int]]]:
        """Groups of shards: the position of each shard in the epoch, and its number."""
        groups: list[list[tuple[int, int]]] = [[]]
        count, enough = 0, -(-self.buffer // _FIRST)
        for position, number in enumerate(order.tolist()):
            if count >= enough:
                groups.append([])
                count, enough = 0, self.buffer
            groups[-1].append((position, number))
            count += len(self.kept[number])
        return groups

    def _read(
        self,
        wanted: np.ndarray,
        rank: int,
        workers: int,
        room: int,
        group: list[tuple[int, int]],
    ) -> _Waiting:
        """The wanted rows of a group, with the features of this worker's shards.

        Features stay where they were read to: none is copied within memory. In front of them is
        room for the rows that are left of the group before.
        """
        starts = np.cumsum([0, *map(len, self.kept)])
        rows, slots, reads = [], [], []
        end = room
        for position, number in group:
            numbers = np.arange(starts[number], starts[number + 1])
            chosen = wanted[numbers]
            rows.append(numbers[chosen])
            picked = self.kept[number][chosen]
            if position % workers != rank or not len(picked):
                slots.append(np.full(len(picked), -1))
                continue
            shard = self.shards[number]
            # Of few rows only those are kept: the others would take more memory than they do.
            whole = _FEW * len(picked) >= shard.rows
            slots.append(end + (picked if whole else np.arange(len(picked))))
            reads.append((shard, end, None if whole else picked))
            end += shard.rows if whole else len(picked)
        values, storage = np.empty((end, *self.shape), np.float16), Storage(self.uri)
        for shard, start, few in reads:
            if few is None:
                read_features(storage, shard, values[start : start + shard.rows])
            else:
                whole_shard = np.empty((shard.rows, *self.shape), np.float16)
                read_features(storage, shard, whole_shard)
                values[start : start + len(few)] = whole_shard[few]
        return _Waiting(np.concatenate(rows), np.concatenate(slots), values, room)


@dataclass(frozen=True)
class _Waiting:
    """Rows that wait for their batch, in order.

    Attributes:
        rows: their numbers in the training set, int64 [n].
        slots: index of each one's features in `features`, int64 [n]; -1 for other workers' rows.
        features: float16 [slots, *shape].
        room: so many slots at the start are unused.
    """

    rows: np.ndarray
    slots: np.ndarray
    features: np.ndarray
    room: int = 0

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Waiting:
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, np.empty((0, *shape), np.float16))

    def followed_by(self, group: _Waiting, order: np.ndarray) -> _Waiting:
        """These rows, which are less than a batch, and then a group's; they move into its room."""
        start = group.room - len(self.features)
        group.features[start : group.room] = self.features
        return _Waiting(
            np.concatenate([self.rows, group.rows[order]]),
            np.concatenate([np.where(self.slots < 0, -1, self.slots + start), group.slots[order]]),
            group.features,
        )

    def batch(self, start: int, end: int) -> StreamBatch:
        """The batch of the rows from `start` to before `end`."""
        slots = self.slots[start:end]
        positions = np.flatnonzero(slots >= 0)
        rows = self.rows[start:end][positions]
        return StreamBatch(self.features[slots[positions]], rows, positions, len(slots))

    def rest(self, start: int) -> _Waiting:
        """What is left from a row on, with these rows' features alone."""
        slots = self.slots[start:]
        here = slots >= 0
        renumbered = np.where(here, np.cumsum(here) - 1, -1)
        return _Waiting(self.rows[start:], renumbered, self.features[slots[here]])
