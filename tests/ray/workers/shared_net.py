"""A small network of a user's, whose epochs take long enough to be killed in one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

import raysweep


class Net(raysweep.TensorLearner):
    """Dense layers on six numbers."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(16, "units", low=1, high=256)
        pause: float = raysweep.option(0.0, "seconds that an epoch takes longer", low=0.0)
        fails: int = raysweep.option(0, "width from which on the second process fails", low=0)

    @classmethod
    def load_data(cls, config: Any) -> Any:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 600)
        return raysweep.split(
            rng.normal(size=(600, 6)) + 2 * rng.normal(size=(3, 6))[labels], labels
        )

    def build_model(self) -> nn.Module:
        width = self.config.width
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

    def on_epoch_start(self, epoch: int) -> None:
        time.sleep(self.config.pause)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.rank == 1 and 0 < self.config.fails <= self.config.width:
            raise KeyError("the second process alone")
        return super().loss(batch)
