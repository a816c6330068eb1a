"""Training features read from their shards while a model trains, for what exceeds memory.

Each epoch takes the shards in a new order, a group of them at a time, and shuffles the rows of a
group: one buffer in memory, another being read meanwhile. Training waits for an epoch's first
group, so that one is smaller. The order of rows depends on the seed alone and not on the number of
workers: each worker reads its share of a group's shards, and of every batch it gets the rows that
lie there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from raysweep.core.storage import Storage
from raysweep.data.features.shards import Shard, read_features

__all__ = ["FeatureStream", "StreamBatch"]

# Training waits for a part of a buffer only, and goes on with it while the next group is read.
_FIRST = 4
# A shard of which less than one row in so many is wanted holds few.
_FEW = 2


@dataclass(frozen=True)
class StreamBatch:
    """This worker's rows of a batch, m of them.

    Attributes:
        features: float16 [m, *shape].
        rows: their numbers in the training set, int64 [m].
        places: their places in the whole batch, int64 [m].
        total: rows of the whole batch.
    """

    features: np.ndarray
    rows: np.ndarray
    places: np.ndarray
    total: int


@dataclass(frozen=True)
class FeatureStream:
    """Where the rows of a training set lie; row numbers count through the shards in order.

    Attributes:
        uri: folder of the shards.
        shape: of one row's features.
        shards: the shards in order.
        kept: for each shard the rows of it that are training rows, int64.
        buffer: rows of a group, at least; a quarter of it for an epoch's first.
    """

    uri: str
    shape: tuple[int, ...]
    shards: Sequence[Shard]
    kept: Sequence[np.ndarray]
    buffer: int

    def batches(
        self, seed: int, wanted: np.ndarray, batch_size: int, rank: int = 0, workers: int = 1
    ) -> Iterator[StreamBatch]:
        """One epoch.

        Args:
            seed: of the order.
            wanted: whether each training row takes part in this epoch, bool [n].
            batch_size: rows of a whole batch; the last one may be smaller.
            rank: this worker's number.
            workers: how many there are.

        Yields:
            As many batches on every worker; one without a row of this worker has m = 0.
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
        """Shards by their place in the epoch and their number."""
        groups: list[list[tuple[int, int]]] = [[]]
        count, enough = 0, -(-self.buffer // _FIRST)
        for place, number in enumerate(order.tolist()):
            if count >= enough:
                groups.append([])
                count, enough = 0, self.buffer
            groups[-1].append((place, number))
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

        They lie where they were read to: none is copied within memory. Before them there is room
        for rows that are left of the group before.
        """
        starts = np.cumsum([0, *map(len, self.kept)])
        rows, where, read = [], [], []
        end = room
        for place, number in group:
            numbers = np.arange(starts[number], starts[number + 1])
            chosen = wanted[numbers]
            rows.append(numbers[chosen])
            picked = self.kept[number][chosen]
            if place % workers != rank or not len(picked):
                where.append(np.full(len(picked), -1))
                continue
            shard = self.shards[number]
            # Of few rows only those are kept: the others would take more memory than they do.
            whole = _FEW * len(picked) >= shard.rows
            where.append(end + (picked if whole else np.arange(len(picked))))
            read.append((shard, end, None if whole else picked))
            end += shard.rows if whole else len(picked)
        values, storage = np.empty((end, *self.shape), np.float16), Storage(self.uri)
        for shard, start, few in read:
            if few is None:
                read_features(storage, shard, values[start : start + shard.rows])
            else:
                every = np.empty((shard.rows, *self.shape), np.float16)
                read_features(storage, shard, every)
                values[start : start + len(few)] = every[few]
        return _Waiting(np.concatenate(rows), np.concatenate(where), values, room)


@dataclass(frozen=True)
class _Waiting:
    """Rows in order: their numbers, where their features are here (-1: nowhere), the features.

    The first `room` of the features are unused.
    """

    rows: np.ndarray
    where: np.ndarray
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
            np.concatenate([np.where(self.where < 0, -1, self.where + start), group.where[order]]),
            group.features,
        )

    def batch(self, start: int, end: int) -> StreamBatch:
        """Rows from one place to another."""
        where = self.where[start:end]
        places = np.flatnonzero(where >= 0)
        rows = self.rows[start:end][places]
        return StreamBatch(self.features[where[places]], rows, places, len(where))

    def rest(self, start: int) -> _Waiting:
        """What is left from a row on, with these rows' features alone."""
        where = self.where[start:]
        here = where >= 0
        renumbered = np.where(here, np.cumsum(here) - 1, -1)
        return _Waiting(self.rows[start:], renumbered, self.features[where[here]])
