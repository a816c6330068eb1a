"""Real Ray, small: one session of two CPUs for all tests of a module, and data of a few hundred."""

from __future__ import annotations

import csv
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)

# A shell has what runs in its background ignore Ctrl-C; the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    from raysweep.cluster.machines.session import ray_session

    with ray_session(num_cpus=2) as module:
        yield module


@pytest.fixture(scope="session")
def ratings_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(40, 3)), rng.normal(size=(25, 3))
    scores = 3.0 + users @ items.T * 0.5 + rng.normal(size=(40, 25)) * 0.3
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "rating", "timestamp", "title"])
        for user, item in np.argwhere(rng.random((40, 25)) < 0.6):
            rating = int(np.clip(np.rint(scores[user, item]), 1, 5))
            title = f"Film {item} ({1970 + item})"
            writer.writerow([user, item, rating, 1000 + 7 * user + item, title])
    return path
