"""Tasks with recorded learning curves, and their lowest and highest values for the regret."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_quality.lcbench import MAX_T as LCBENCH_MAX_T
from benchmarks.search_quality.lcbench import Surrogate
from benchmarks.search_quality.space import Parameter, TaskSpace
from raysweep.core.errors import UserError

__all__ = ["NORMS", "TUNING", "Curve", "Source", "SurrogateTask", "TableTask", "Task"]

NORMS = Path(__file__).with_name("norms.json")
# Searchers are tuned on these, and tested on the others.
TUNING = frozenset(
    {
        *(f"lc{number:02d}" for number in range(12)),
        "imdb_patch128_LSTM128_avg_bs64",
        "imdb_patch128_LSTM128_bs64",
        "imdb_patch128_LSTM128_embed128_bs64",
        "imdb_patch32_GRU128_bs128",
        "imdb_patch32_GRU64_avg_bs128",
        "imdb_patch32_IRNN64_relu_avg_bs128",
    }
)
# How much a step along each of TaskSet's coordinates counts where the nearest row is looked for.
_WEIGHTS = np.array([4.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.0])
_NEAR_ONE = (1, 2)  # TaskSet's columns that are on the scale of -log(1 - x)


@dataclass(frozen=True)
class Curve:
    """What training a configuration gives.

    Attributes:
        params: the configuration; of a table, that of the row.
        values: after each epoch, the more the better; not finite where training diverged. [T]
        seconds: that each epoch took. [T]
    """

    params: dict[str, Any]
    values: np.ndarray
    seconds: np.ndarray


class Task(ABC):
    """Something to search for.

    Attributes:
        name: its own.
        max_t: T, the epochs of a full training.
        low: the value with a regret of 1.
        high: the value with a regret of 0.
        space: what is searched.
    """

    name: str
    max_t: int
    low: float
    high: float
    space: TaskSpace

    @abstractmethod
    def trainer(self) -> Callable[[Mapping[str, Any]], Curve]:
        """What gives a configuration's curve, for one search: a table's row is given once."""

    def regret(self, value: float) -> float:
        """How far a value is from the best, from 0 to 1; 1 for one that is not finite."""
        if not math.isfinite(value):
            return 1.0
        return float(np.clip((self.high - value) / (self.high - self.low), 0.0, 1.0))


class SurrogateTask(Task):
    """A data set of LCBench: validation accuracy in percent, by a network fitted to trainings.

    Args:
        surrogate: the network.
        name: lc00 to lc33.
        low: see `Task`.
        high: see `Task`.
    """

    def __init__(self, surrogate: Surrogate, name: str, low: float, high: float) -> None:
        self.name, self.low, self.high = name, low, high
        self.space, self.max_t = surrogate.space, LCBENCH_MAX_T
        self._surrogate = surrogate

    def trainer(self) -> Callable[[Mapping[str, Any]], Curve]:
        """Asks the network for whole curves."""

        def train(params: Mapping[str, Any]) -> Curve:
            rows = self.space.row(params)[None]
            values, seconds = self._surrogate.curves(int(self.name[2:]), rows)
            return Curve(dict(params), values[0], seconds[0])

        return train


class TableTask(Task):
    """A table of configurations that were all trained: loss on validation data, its sign changed.

    The point before training is dropped. The lowest value is the median after the first epoch, the
    highest the best of the table.

    Args:
        name: the task's.
        rows: the configurations, [number of rows, number of columns], as published.
        losses: [number of rows, T + 1]; NaN where training diverged.
    """

    def __init__(self, name: str, rows: np.ndarray, losses: np.ndarray) -> None:
        self.name = name
        self._values = -losses[:, 1:].astype(np.float64)
        self.max_t = self._values.shape[1]
        finite = np.where(np.isfinite(self._values), self._values, -np.inf)
        # A training that diverged at once counts as worse than all others.
        self.low, self.high = float(np.median(finite[:, 0])), float(finite.max())
        self.unit = unit_coordinates(rows)
        names = [f"x{column}" for column in range(rows.shape[1])]
        self.space = TaskSpace([Parameter(name, 0.0, 1.0) for name in names])

    def trainer(self) -> Callable[[Mapping[str, Any]], Curve]:
        """Gives the nearest row that this search has not had; of all, once it has had them all."""
        left = np.ones(len(self.unit), dtype=bool)
        weights = _WEIGHTS if self.unit.shape[1] == len(_WEIGHTS) else 1.0

        def train(params: Mapping[str, Any]) -> Curve:
            if not left.any():
                left[:] = True  # A long search of a small table has every row again.
            distances = np.linalg.norm(weights * (self.unit - self.space.row(params)), axis=1)
            row = int(np.argmin(np.where(left, distances, np.inf)))
            left[row] = False
            names = [p.name for p in self.space.parameters]
            found = dict(zip(names, map(float, self.unit[row]), strict=True))
            return Curve(found, self._values[row], np.ones(self.max_t))

        return train


def unit_coordinates(rows: np.ndarray) -> np.ndarray:
    """Coordinates from 0 to 1 over the table, [number of rows, number of columns].

    Eight columns are TaskSet's, on their scales. Others are taken as they are.
    """
    scaled = rows.astype(np.float64)
    if rows.shape[1] == len(_WEIGHTS):
        for column in range(rows.shape[1]):
            values = scaled[:, column]
            scaled[:, column] = -np.log1p(-values) if column in _NEAR_ONE else np.log(values)
    scaled -= scaled.min(axis=0)
    extent = scaled.max(axis=0)
    return scaled / np.where(extent > 0, extent, 1.0)


@dataclass(frozen=True)
class Source:
    """Where curves are: LCBench's folder, or a file in the layout of taskset.npz.

    Attributes:
        path: the folder, or the file.
    """

    path: Path

    @classmethod
    def at(cls, path: Path) -> Source:
        """The source at a path.

        Raises:
            UserError: there is none.
        """
        if (path.is_dir() and (path / "model.onnx").exists()) or path.suffix == ".npz":
            if path.exists():
                return cls(path)
            raise UserError(f"--curves {path}: there is no such file")
        raise UserError(
            f"--curves {path}: give a file in the layout of taskset.npz (NAME/X and NAME/valid), "
            "or LCBench's folder with model.onnx, config_space.json and encoding.json"
        )

    @property
    def name(self) -> str:
        """Of the folder or file, without its ending."""
        return self.path.stem

    def task_names(self) -> list[str]:
        """All of them, in their order.

        Raises:
            UserError: a file of curves has none.
        """
        if self.path.is_dir():
            return [f"lc{number:02d}" for number in range(len(Surrogate.task_ids(self.path)))]
        with np.load(self.path) as arrays:
            names = [key.removesuffix("/X") for key in arrays.files if key.endswith("/X")]
        if not names:
            raise UserError(f"--curves {self.path}: it holds no array whose name ends with /X")
        return names

    def chosen(self, asked: Sequence[str] | None) -> list[str]:
        """Tasks by `--tasks`: test, tuning, all or names; by default those for tests, if any."""
        names = self.task_names()
        tests = [name for name in names if name not in TUNING]
        groups = {"all": names, "test": tests, "tuning": [n for n in names if n in TUNING]}
        if asked is None:
            return tests or names
        wanted = {name for word in asked for name in groups.get(word, [word])}
        return [name for name in names if name in wanted]

    def load(self, name: str) -> Task:
        """One of its tasks."""
        if self.path.is_dir():
            # What lies beside the model is meant for it; ours was computed from the published one.
            beside = self.path / "norms.json"
            norms = json.loads((beside if beside.exists() else NORMS).read_text())
            return SurrogateTask(Surrogate.shared(self.path), name, *norms[name])
        with np.load(self.path) as arrays:
            return TableTask(name, arrays[f"{name}/X"], arrays[f"{name}/valid"])
