from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

NUM_ROWS, MAX_T = 30, 9


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two tasks in the layout of taskset.npz: rows near the middle are the best ones."""
    rng = np.random.default_rng(0)
    unit = rng.random((NUM_ROWS, 8))
    rows = 10.0 ** (-4 * unit)
    rows[:, 1:3] = 1 - 10.0 ** (-4 * unit[:, 1:3])
    arrays: dict[str, Any] = {}
    for name in ("first", "second"):
        final = np.linalg.norm(unit - rng.uniform(0.3, 0.7, 8), axis=1)
        losses = final[:, None] + 1 / np.arange(1, MAX_T + 2)
        losses[:, 0] = -5.0  # before training: no value of a search
        losses[3, 4:] = np.nan
        arrays |= {f"{name}/X": rows, f"{name}/valid": losses.astype(np.float32)}
    path = tmp_path / "curves.npz"
    np.savez(path, **arrays)
    return path
