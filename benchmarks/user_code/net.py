"""A small `raysweep.TensorLearner` on generated points.

`benchmarks.user_code.kills` copies this file into a folder of its own, as a user's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

import raysweep

_PAUSE_S = 0.05


class Net(raysweep.TensorLearner):
    """Dense layers on six numbers, with dropout: masks must go on where they were."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        """One field beside those of any training."""

        width: int = raysweep.option(16, "units", low=1, high=256)

    @classmethod
    def load_data(cls, config: Any) -> Any:
        """600 points of three classes that overlap."""
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 600)
        points = rng.normal(size=(600, 6)) + 0.8 * rng.normal(size=(3, 6))[labels]
        return raysweep.split(points, labels, seed=0)

    def build_model(self) -> nn.Module:
        """One hidden layer."""
        width = self.config.width
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Takes a moment longer, so that there is one to be killed in."""
        time.sleep(_PAUSE_S)
        return super().evaluate(data, prefix)
