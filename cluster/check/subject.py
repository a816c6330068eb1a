"""What is checked: a learner's class with a configuration and data, and how long it may train."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from raysweep.cluster.check.compare import Closeness, Epoch, weights_of
from raysweep.cluster.check.jobs import Answer, Job, shorten
from raysweep.cluster.check.processes import Workers
from raysweep.core.fingerprints import fingerprint
from raysweep.core.targets import is_object
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.user.examples import Examples

__all__ = ["Subject"]

NUM_EPOCHS = 3  # of the training that the others are compared with
_LONG_S = 2.0  # an epoch that takes longer is cut to the batches of that time
# On a GPU sums are made in any order.
_ON_GPU = Closeness(1e-2, 1e-3, 1e-2, 1e-3)


@dataclass
class Subject:
    """What all checks look at, and what they have in common.

    Attributes:
        task: as typed.
        learner_class: what it names.
        config: the configuration that is trained.
        data: of the learner's `data_class`.
        folder: for files of the checks.
        workers: other processes.
        device: "cpu" or "cuda".
        dataset: the data, once they are loaded.
        max_batches: that an epoch is cut to; None where the whole one is short enough.
        num_batches: of a whole epoch.
        seconds: of a whole epoch with its validation, estimated where it was cut.
        first: what the first look found: metrics, or an empty dictionary.
        loaded: a hash of the data as they were loaded.
        read: what `read_some` came to then.
    """

    task: str
    learner_class: type[Learner[Any]]
    config: TrainingConfig
    data: Any
    folder: Path
    workers: Workers
    device: str = "cpu"
    dataset: Dataset = field(default_factory=lambda: Dataset({}, {}))
    max_batches: int | None = None
    num_batches: int = 0
    seconds: float = 0.0
    first: Mapping[str, float] = field(default_factory=dict)
    loaded: str = ""
    read: Sequence[str] = ()

    @property
    def exactly(self) -> Closeness:
        """How close two trainings that are the same have to be."""
        return Closeness() if self.device == "cpu" else _ON_GPU

    @property
    def equal(self) -> str:
        """How that is said."""
        return "to the bit" if self.device == "cpu" else "up to rounding"

    def load(self) -> None:
        """Loads the data, read-only, as trials get them; raises what the learner raises."""
        loaded = self.learner_class.load_data(self.data)
        for value in [*loaded.arrays.values(), *loaded.test.values()]:
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.dataset = loaded
        self.loaded, self.read = self.digest(), self.read_some()

    def build(self, config: TrainingConfig | None = None) -> Learner[Any]:
        """A new learner, its epochs cut to `max_batches`."""
        learner = self.learner_class(config or self.config, self.dataset.arrays, self.device)
        shorten(learner, self.max_batches)
        return learner

    def train(self, learner: Learner[Any], num_epochs: int = 1) -> list[Epoch]:
        """Trains so many epochs more."""
        trainer = Trainer(learner)
        epochs = []
        for _ in range(num_epochs):
            result = trainer.run_epoch()
            epochs.append(Epoch(result, weights_of(learner.model)))
        return epochs

    def look(self) -> None:
        """Trains for the first time, no longer than needed to know how long an epoch takes."""
        learner = self.learner_class(self.config, self.dataset.arrays, self.device)
        self.num_batches = learner.num_batches()
        trainer = Trainer(learner)
        generator = trainer.begin_epoch()
        batches, done = learner.batches, 0
        start = time.perf_counter()

        def timed(generator: torch.Generator) -> Iterator[Any]:
            nonlocal done
            for batch in batches(generator):
                yield batch
                done += 1
                if time.perf_counter() - start > _LONG_S:
                    return

        vars(learner).update(batches=timed)
        loss = trainer.train_epoch(generator) * self.num_batches / max(done, 1)
        trained = time.perf_counter() - start
        metrics = learner.validate()
        validated = time.perf_counter() - start - trained
        if done < self.num_batches:
            self.max_batches = max(done, 1)
        self.seconds = trained * self.num_batches / max(done, 1) + validated
        self.first = {"train_loss": loss, **metrics}

    @cached_property
    def _reference(self) -> tuple[list[Epoch], list[int]]:
        learner, process = self.build(), psutil.Process()
        epochs: list[Epoch] = []
        memory = []
        for _ in range(NUM_EPOCHS):
            start = time.perf_counter()
            epochs += self.train(learner)
            if self.max_batches is None:  # The first look was slower: everything was cold.
                self.seconds = time.perf_counter() - start
            gc.collect()
            kept = sum(v.nbytes for each in epochs for v in each.weights.values())
            memory.append(process.memory_info().rss - kept)
        return epochs, memory

    @property
    def reference(self) -> list[Epoch]:
        """The first `NUM_EPOCHS` epochs of an undisturbed training."""
        return self._reference[0]

    @property
    def memory(self) -> list[int]:
        """Bytes that this process had in memory after each of them."""
        return self._reference[1]

    @cached_property
    def killed(self) -> Answer:
        """A training in a process of its own, killed when the first epoch's state was written."""
        return self.run([self.job("killed", kill=True)])[0]

    def run(self, jobs: Sequence[Job]) -> list[Answer]:
        """Does jobs in other processes, which load the code by its name where it has one."""
        if not is_object(self.task):
            return self.workers.run(jobs)
        from ray import cloudpickle

        by_value = [dataclasses.replace(job, learner=self.learner_class) for job in jobs]
        return self.workers.run(by_value, dumps=cloudpickle.dumps)

    def job(self, name: str, config: TrainingConfig | None = None, **more: Any) -> Job:
        """Work for another process: an epoch of this configuration, or of another one."""
        values = (config or self.config).to_dict()
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        arrays = dict(self.dataset.arrays)
        return Job(folder, self.task, values, arrays, self.device, self.max_batches, **more)

    def digest(self) -> str:
        """A hash of all data in memory."""
        both = {**self.dataset.arrays, **self.dataset.test}
        return fingerprint(*(v for v in both.values() if isinstance(v, np.ndarray)))

    def read_some(self) -> list[str]:
        """Hashes of some examples of each set that is read as it is needed."""
        both = {**self.dataset.arrays, **self.dataset.test}
        return [each.digest() for each in both.values() if isinstance(each, Examples)]
