"""What tests of several folders share: small data, commands, what is left of a run."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from raysweep.trainables.trainer import Trainer

__all__ = [
    "fake_run",
    "read_table",
    "start_raysweep",
    "train",
    "without_times",
    "write_noise_images",
    "write_ratings",
]


def write_ratings(path: Path, num_users: int = 40, num_items: int = 25) -> Path:
    """Ratings 1 to 5 of a model of rank 3 with noise; three of five pairs are there."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(num_users, 3)), rng.normal(size=(num_items, 3))
    noise = rng.normal(size=(num_users, num_items)) * 0.3
    scores = (3.0 + users @ items.T * 0.5 + noise).round().clip(1, 5).astype(int)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "rating", "timestamp", "title"])
        for user, item in np.argwhere(rng.random((num_users, num_items)) < 0.6):
            title = f"Film {item} ({1970 + item})"
            writer.writerow([user, item, scores[user, item], 1000 + 7 * user + item, title])
    return path


def write_noise_images(folder: Path, counts: Mapping[str, int]) -> Path:
    """Images of noise, all different, in two classes: so many in each split."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for number in range(count):
            path = folder / split / "ab"[number % 2] / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 256, (12, 12 + number % 5, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((160, 120)).save(path)
    return folder


def train(
    learner_class: Any,
    path: Path,
    data: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    num_epochs: int = 0,
) -> tuple[Any, Any]:
    """A learner after so many epochs on a data set of that path, and the data set."""
    values = {"dataset": str(path), **(data or {})}
    dataset = learner_class.load_data(learner_class.data_class.create(values))
    learner = learner_class(learner_class.config_class.create(config or {}), dataset.arrays)
    for _ in range(num_epochs):
        Trainer(learner).run_epoch()
    return learner, dataset


def fake_run(learner: Any, dataset: Any, **more: Any) -> Any:
    """What questions need of a saved run, without a search."""
    values: dict[str, Any] = {
        "request": SimpleNamespace(learner=type(learner), task=learner.name),
        "storage": SimpleNamespace(uri="runs/x"),
        "dataset": dataset,
        "best_model": lambda: learner,
    }
    return SimpleNamespace(**{**values, **more})


def start_raysweep(*arguments: str) -> subprocess.Popen[bytes]:
    """Starts a command in a session of its own, which a test can kill as a whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "raysweep.cluster.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def read_table(folder: Path) -> pd.DataFrame:
    """A run's table without what depends on the clock."""
    return pd.read_parquet(folder / "trials.parquet").drop(columns="time_total_s")


def without_times(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of epochs without what depends on the clock."""
    return [{k: v for k, v in result.items() if k != "time_epoch_s"} for result in results]
