"""A function and a `tune.Trainable` that report twenty times, each time with a checkpoint.

`benchmarks.user_code.kills` copies this file into a folder of its own, as a user's.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

space = {"x": tune.uniform(0, 1), "model": {"size": tune.randint(1, 5)}}
NUM_STEPS = 20
_PAUSE_S = 0.05


def _height(x: float, size: int, step: int) -> float:
    """Climbs towards a height that depends on the configuration."""
    time.sleep(_PAUSE_S)
    return float((1 - (x - 0.4) ** 2 + 0.01 * size) * (1 - 0.8**step))


def climb(config: dict[str, Any]) -> None:
    """Reports after each step, and goes on from its newest checkpoint."""
    done = 0
    if saved := tune.get_checkpoint():
        with saved.as_directory() as folder:
            done = json.loads(Path(folder, "state.json").read_text())
    for step in range(done + 1, NUM_STEPS + 1):
        score = _height(config["x"], config["model"]["size"], step)
        with TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps(step))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"score": score, "more": {"step": step}}, checkpoint=checkpoint)


class Climber(tune.Trainable):
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        """Starts at the bottom."""
        self._x, self._size, self._done = config["x"], config["model"]["size"], 0

    def step(self) -> dict[str, Any]:
        """Climbs one step."""
        self._done += 1
        score = _height(self._x, self._size, self._done)
        return {"score": score, "more": {"step": self._done}, "done": self._done == NUM_STEPS}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        """Says how far it is."""
        return {"done": self._done}

    def load_checkpoint(self, checkpoint: dict[str, int] | None) -> None:
        """Goes on from there."""
        assert checkpoint is not None
        self._done = checkpoint["done"]
