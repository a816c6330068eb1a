"""LCBench's surrogate network of YAHPO Gym: a learning curve for every configuration.

Zimmer et al., "Auto-PyTorch Tabular", TPAMI 2021; Pfisterer et al., "YAHPO Gym", AutoML 2022.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_quality.space import Parameter, TaskSpace
from raysweep.core.errors import UserError

__all__ = ["MAX_T", "Surrogate"]

MAX_T = 52
_COLUMNS = (
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "num_layers",
    "max_units",
    "max_dropout",
)
_SECONDS, _ACCURACY = 0, 1  # columns of what the network gives
_TASK = "OpenML_task_id"


class Surrogate:
    """The network with its search space.

    Args:
        folder: with model.onnx, config_space.json and encoding.json.

    Raises:
        UserError: onnxruntime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            onnxruntime = import_module("onnxruntime")
        except ImportError:
            raise UserError(
                "LCBench's curves are those of a network in ONNX: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        # Searches run in processes side by side.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        encoding = json.loads((folder / "encoding.json").read_text())[_TASK]
        self._codes = [encoding[task] for task in self.task_ids(folder)]
        entries = {entry["name"]: entry for entry in _entries(folder)}
        self.space = TaskSpace(
            [
                Parameter(
                    name,
                    entries[name]["lower"],
                    entries[name]["upper"],
                    log=entries[name]["log"],
                    whole=entries[name]["type"] == "uniform_int",
                )
                for name in _COLUMNS
            ]
        )

    @classmethod
    def shared(cls, folder: Path) -> Surrogate:
        """The one of this process."""
        return _loaded(folder)

    @staticmethod
    def task_ids(folder: Path) -> list[str]:
        """OpenML's numbers of the tasks; the first one is lc00."""
        return next(list(e["choices"]) for e in _entries(folder) if e["name"] == _TASK)

    def curves(self, task: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies and times of trainings.

        Args:
            task: its number, from 0.
            rows: configurations in the order of the space, [n, 7].

        Returns:
            validation accuracy after each epoch in percent, and seconds of each epoch; [n, 52].
        """
        output = self._at(task, rows, np.arange(1, MAX_T + 1))
        # The network's time since the start need not grow; an epoch takes some time all the same.
        seconds = np.diff(output[:, :, _SECONDS], axis=1, prepend=0.0)
        return output[:, :, _ACCURACY], np.maximum(seconds, 1e-3)

    def accuracies(self, task: int, rows: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        """Validation accuracies after some epochs, [n, number of epochs]; see `curves`."""
        return self._at(task, rows, epochs)[:, :, _ACCURACY]

    def _at(self, task: int, rows: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        num, times = len(rows), len(epochs)
        inputs = np.empty((num, times, 1 + len(_COLUMNS)), dtype=np.float32)
        inputs[:, :, 0] = epochs
        inputs[:, :, 1:] = rows[:, None, :]
        codes = np.full((num * times, 1), self._codes[task], dtype=np.int32)
        feed = {"x_cat": codes, "x_cont": inputs.reshape(num * times, -1)}
        output: np.ndarray = self._session.run(None, feed)[0]
        return output.reshape(num, times, -1).astype(np.float64)


@cache
def _loaded(folder: Path) -> Surrogate:
    return Surrogate(folder)


def _entries(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "config_space.json").read_text())["hyperparameters"])
