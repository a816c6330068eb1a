"""A model that keeps every promise, and one for each promise that breaks it and no other."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BROKEN", "GOOD", "Broken"]

GOOD = '''
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import raysweep


def points():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    return rng.normal(size=(200, 4)) + 2 * rng.normal(size=(3, 4))[labels], labels


class Net(raysweep.TensorLearner):
    """Dense layers on four numbers."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(8, "units", low=1, high=64)
        batch_size: int = raysweep.option(32, "examples a step", low=8)

    @classmethod
    def load_data(cls, config):
        return raysweep.split(*points(), seed=0)

    def build_model(self):
        width = self.config.width
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))
'''
_NORMALISED = """
    def build_model(self):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
"""


@dataclass(frozen=True)
class Broken:
    """How a model breaks a promise.

    Attributes:
        check: the line that fails, and no other.
        seen: what the line says, a regular expression.
        fix: what it advises, the same.
        body: what the class has instead.
        top: what stands before the class.
    """

    check: str
    seen: str
    fix: str
    body: str
    top: str = ""

    @property
    def source(self) -> str:
        """The file: a class Broken on GOOD's Net."""
        return f"{GOOD}\n{self.top}\n\nclass Broken(Net):\n{self.body}"


BROKEN = {
    "batches in NumPy's order": Broken(
        "same seed",
        "two trainings with one seed differ",
        "PyTorch's generator alone",
        """
    def batches(self, generator):
        order = torch.from_numpy(np.random.permutation(len(self.data["train_labels"])))
        for rows in order.split(32):
            yield self.data["train_inputs"][rows], self.data["train_labels"][rows]
""",
    ),
    "the order of a set": Broken(
        "same seed",
        "in another process .* is",
        "the order of a set",
        """
    def build_model(self):
        widths = {"a": 5, "b": 6, "c": 7, "d": 8, "e": 9, "f": 10, "g": 11, "h": 12, "i": 13}
        width = sum(k * widths[name] for k, name in enumerate(set(widths)))
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
""",
    ),
    "a counter outside of the state": Broken(
        "resuming",
        "after a restart train_loss is",
        "belongs into state_dict",
        """
    steps = 0

    def loss(self, batch):
        self.steps += 1
        return super().loss(batch) * (1 + 0.1 * self.steps)
""",
    ),
    "a state that no file can hold": Broken(
        "resuming",
        "its state cannot be written: TypeError",
        "belongs into state_dict",
        """
    def state_dict(self):
        return {**super().state_dict(), "seen": {1, 2}}
""",
    ),
    "a global of the first model": Broken(
        "nothing leaks",
        "beside another configuration",
        "no global variable",
        """
    def build_model(self):
        WIDTHS.append(self.config.width)
        return nn.Sequential(nn.Linear(4, WIDTHS[0]), nn.ReLU(), nn.Linear(WIDTHS[0], 3))
""",
        "WIDTHS = []",
    ),
    "batch normalisation that learns in evaluate": Broken(
        "validation",
        "validating changed 1.running_mean",
        "in eval mode",
        f"""
    splits = "no"
{_NORMALISED}
    def evaluate(self, data, prefix):
        self.model.train()
        return super().evaluate(data, prefix)
""",
    ),
    "validation that counts": Broken(
        "validation",
        "after validating twice more",
        "no counter",
        """
    times = 0

    def evaluate(self, data, prefix):
        self.times += 1
        return super().evaluate(data, prefix)

    def loss(self, batch):
        return super().loss(batch) * (1 + self.times * (self.epoch != self.times + 1))

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.times = self.epoch
""",
    ),
    "every example twice": Broken(
        "sets apart",
        r"\d+ of \d+ validation examples are training examples, too",
        "duplicates=True",
        """
    @classmethod
    def load_data(cls, config):
        inputs, labels = points()
        twice = np.concatenate([inputs, inputs]), np.concatenate([labels, labels])
        return raysweep.split(*twice, seed=0)
""",
    ),
    "test data among a trial's": Broken(
        "test set sealed",
        "Dataset.arrays has test_inputs",
        "Dataset.test alone",
        """
    @classmethod
    def load_data(cls, config):
        whole = super().load_data(config)
        return dataclasses.replace(whole, arrays={**whole.arrays, **whole.test})
""",
        "import dataclasses",
    ),
    "data changed in place": Broken(
        "data untouched",
        "an epoch changed the data",
        "work on a copy",
        """
    def on_epoch_start(self, epoch):
        self.data["train_inputs"].div_(2)
""",
    ),
    "a low end that crashes": Broken(
        "ranges",
        r"groups=0: ZeroDivisionError: .* \(own_net.py, line \d+\)",
        "narrow the field",
        """
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Net.Config):
        groups: int = raysweep.option(2, "groups", low=0, high=4)

    def build_model(self):
        return nn.Linear(4, 3 + 0 // self.config.groups)
""",
    ),
    "an open file": Broken(
        "other machines",
        "it cannot be sent: PicklingError: Cannot pickle files",
        "open files",
        """
    log = open("own_log.txt", "w")
""",
    ),
    "a lock": Broken(
        "other machines",
        "it cannot be sent: TypeError: cannot pickle '_thread.lock'",
        "locks",
        """
    def build_model(self):
        with LOCK:
            return super().build_model()
""",
        "import threading\n\nLOCK = threading.Lock()",
    ),
    "a file beside it": Broken(
        "other machines",
        "in an empty folder: FileNotFoundError",
        "no file beside it",
        """
    def build_model(self):
        return nn.Linear(4, int(open("own_classes.txt").read()))
""",
    ),
    "a metric that is not reported": Broken(
        "metrics",
        "evaluate reports val_accuracy, val_loss, and no val_f1",
        "for every val_NAME",
        """
    metrics = {"val_f1": "max"}

    def evaluate(self, data, prefix):
        loss = float(self.loss((data[f"{prefix}_inputs"], data[f"{prefix}_labels"])))
        return {f"{prefix}_loss": loss, f"{prefix}_accuracy": 0.5}
""",
    ),
    "metrics of validation alone": Broken(
        "metrics",
        'evaluate.data, "test". reports val_loss, and no test_loss',
        "for every val_NAME",
        """
    metrics = {"val_loss": "min"}

    def evaluate(self, data, prefix):
        return {"val_loss": super().evaluate(data, prefix)[f"{prefix}_loss"]}
""",
    ),
    "a loss that is no number": Broken(
        "finite numbers",
        "val_loss is nan",
        "division by 0",
        """
    def evaluate(self, data, prefix):
        return {**super().evaluate(data, prefix), f"{prefix}_loss": float("nan")}
""",
    ),
    "batch normalisation in several processes": Broken(
        "several processes",
        "with two processes: UserError: .* has batch normalisation",
        'splits = "no"',
        _NORMALISED,
    ),
    "packs of different batches": Broken(
        "packs",
        "in a pack and alone",
        "packed_fields",
        """
    packed_fields = frozenset({"batch_size"})
""",
    ),
    "outputs that are kept": Broken(
        "memory",
        "grows with every epoch",
        "keep no tensors",
        """
    kept = []

    def on_epoch_start(self, epoch):
        self.kept.append(torch.ones(4_000_000))
""",
    ),
    "an epoch that fails": Broken(
        "training",
        r"KeyError: 'test_labels' \(own_net.py, line \d+\)",
        "the message says",
        """
    def loss(self, batch):
        return self.data["test_labels"].float().mean()
""",
    ),
    "data that are no data set": Broken(
        "data",
        "has no attribute 'arrays'",
        "returns a Dataset",
        """
    @classmethod
    def load_data(cls, config):
        return points()
""",
    ),
}
