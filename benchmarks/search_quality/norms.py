"""Lowest and highest values of LCBench's tasks, for the regret; kept in norms.json.

    python -m benchmarks.search_quality.norms LCBENCH_FOLDER

Lowest is the median accuracy after the first epoch of 500 random configurations. Highest is the
best accuracy after any epoch, of 20,000 random configurations and of a local search from the best
40 of them. It takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.search_quality.lcbench import Surrogate
from benchmarks.search_quality.tasks import NORMS, Source

_NUM_FIRST, _NUM_RANDOM, _BATCH = 500, 20_000, 500
_NUM_LOCAL, _ROUNDS, _NEIGHBOURS = 40, 50, 20
# The search looks at these epochs; all of them are looked at where it ends.
_EPOCHS = np.array([4, 12, 20, 28, 36, 44, 48, 52])


def norms(surrogate: Surrogate, task: int) -> tuple[float, float]:
    """The lowest and the highest value of a task, given by its number from 0."""
    rng = np.random.default_rng(task)
    space = surrogate.space
    width = len(space.parameters)

    def best_of(unit: np.ndarray) -> np.ndarray:
        return surrogate.accuracies(task, space.from_unit(unit), _EPOCHS).max(axis=1)

    unit = rng.random((_NUM_RANDOM, width))
    first = surrogate.accuracies(task, space.from_unit(unit[:_NUM_FIRST]), np.array([1]))
    best = np.concatenate([best_of(part) for part in np.split(unit, _NUM_RANDOM // _BATCH)])
    kept = np.argsort(-best)[:_NUM_LOCAL]
    unit, best, places = unit[kept], best[kept], np.arange(_NUM_LOCAL)
    for scale in np.geomspace(0.3, 0.003, _ROUNDS):
        shape = (_NUM_LOCAL, _NEIGHBOURS, width)
        moves = rng.normal(scale=scale, size=shape) * (rng.random(shape) < 0.5)
        near = np.clip(unit[:, None] + moves, 0.0, 1.0)
        found = best_of(near.reshape(-1, width)).reshape(shape[:2])
        top = found.argmax(axis=1)
        better = found[places, top] > best
        unit[better] = near[places, top][better]
        best = np.maximum(best, found[places, top])
    values = surrogate.curves(task, space.from_unit(unit))[0]
    return float(np.median(first)), float(values.max())


def main() -> None:
    """Computes them and writes norms.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", help="names; the others' values stay as they are")
    options = parser.parse_args()
    source = Source.at(options.folder)
    surrogate = Surrogate(source.path)
    found = json.loads(NORMS.read_text()) if NORMS.exists() else {}
    for task, name in enumerate(source.task_names()):
        if options.tasks is None or name in options.tasks:
            found[name] = norms(surrogate, task)
            print(name, *found[name], flush=True)
    lines = (f'"{name}": [{low:.4f}, {high:.4f}]' for name, (low, high) in found.items())
    NORMS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
