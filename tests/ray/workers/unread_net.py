"""A small network of a user's, on a stream whose epochs take long enough to be killed in one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import IterableDataset

import raysweep


class Points(IterableDataset[Any]):
    """Points on either side of a line, others in each epoch, and never twice the same noise."""

    def __init__(self, seed: int, num: int, pause: float = 0.0) -> None:
        self.seed, self.num, self.pause, self.epoch = seed, num, pause, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.num):
            time.sleep(self.pause)
            point = rng.normal(size=6)
            yield point + 0.3 * torch.rand(6).numpy(), int(point.sum() > 0)


class Net(raysweep.TensorLearner):
    """Dense layers on six numbers that are read as they are needed."""

    Data = raysweep.LoaderConfig

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(16, "units", low=1, high=256)

    @classmethod
    def load_data(cls, config: Any) -> Any:
        sets = Points(0, 300, 0.001), Points(1, 60), Points(2, 60)
        return raysweep.from_torch(
            *sets, num_train=300, shuffle_buffer=64, loader_workers=config.loader_workers
        )

    def build_model(self) -> nn.Module:
        width = self.config.width
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 2))
