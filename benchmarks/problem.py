"""The search that all contestants do: data as files, configurations, and nothing that is timed.

python -m benchmarks.problem FOLDER --trials 40 --epochs 10          # MovieLens 100k
python -m benchmarks.problem FOLDER --trials 20 --epochs 1 --tiny    # generated, 2,000 ratings
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SPACES", "TASK", "Problem", "prepare", "read"]

TASK = "matrix_factorization"
SPACES = ("l2", "embedding_size")
_FILE = "problem.json"
# What the textbook code of the other contestants computes; see contestants/textbook.py.
_TEXTBOOK = {
    "l2_on": "balanced",
    "implicit_feedback": False,
    "biases": True,
    "optimizer": "adam",
    "schedule": "linear",
}


@dataclass(frozen=True)
class Problem:
    """One search.

    Attributes:
        dataset: what raysweep is given: `ml-100k`, or the path of a table.
        seed: of the searcher, the split and the training.
        epochs: of each trial.
        num_users, num_items: sizes of the embeddings.
        lowest, highest: the scale of the ratings.
        points: the full configuration of each trial, the default one first.
    """

    dataset: str
    seed: int
    epochs: int
    num_users: int
    num_items: int
    lowest: float
    highest: float
    points: list[dict[str, Any]]


def prepare(folder: Path, *, trials: int, epochs: int, tiny: bool = False) -> Problem:
    """Writes `problem.json`, `train.csv` and `val.csv`.

    The tables hold the same split as raysweep's, with indices for ids, so that the others are
    spared the work of encoding and splitting. raysweep does that work in its own time.

    Args:
        folder: where to write.
        trials: how many configurations to sample, the default one among them.
        epochs: of each trial.
        tiny: a small generated table instead of MovieLens 100k.

    Raises:
        RuntimeError: raysweep's default configuration is no longer what the textbook code does.
    """
    import pandas as pd

    from raysweep.data.ratings.movielens import load, split
    from raysweep.data.sources.fetch import fetch

    folder.mkdir(parents=True, exist_ok=True)
    source = _generate(folder / "ratings.csv") if tiny else fetch("ml-100k")
    ratings = load(source)
    sets = split(ratings, seed=0)
    for name, rows in (("train", sets.train), ("val", sets.validation)):
        columns = {"user": rows.user, "item": rows.item, "rating": rows.rating}
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    problem = Problem(
        dataset=str(source) if tiny else "ml-100k",
        seed=0,
        epochs=epochs,
        num_users=ratings.num_users,
        num_items=ratings.num_items,
        lowest=ratings.scale[0],
        highest=ratings.scale[1],
        points=_points(trials, epochs, seed=0),
    )
    (folder / _FILE).write_text(json.dumps(asdict(problem), indent=1))
    return problem


def read(folder: Path) -> Problem:
    """Reads what `prepare` wrote."""
    return Problem(**json.loads((folder / _FILE).read_text()))


def _points(trials: int, epochs: int, seed: int) -> list[dict[str, Any]]:
    """The configurations of raysweep's random searcher: the default one, then draws by index."""
    from raysweep.search_spaces import combine, get_space, sample
    from raysweep.trainables import get_learner

    create = get_learner(TASK).config_class.create
    fixed = {"seed": seed, "epochs": epochs}
    default = create(fixed)
    for field, value in _TEXTBOOK.items():
        if getattr(default, field) != value:
            raise RuntimeError(f"{field} is no longer {value!r}; adapt contestants/textbook.py")
    suggest = combine([get_space(space).bind(TASK, default) for space in SPACES])
    chosen = [{}, *(sample(suggest, seed, index, 0)[1] for index in range(1, trials))]
    return [create({**fixed, **fields}).to_dict() for fields in chosen]


def _generate(path: Path, users: int = 100, items: int = 80, ratings: int = 2000) -> Path:
    import pandas as pd

    rng = np.random.default_rng(7)
    pairs = rng.choice(users * items, ratings, replace=False)
    columns = {"user": pairs // items, "item": pairs % items, "rating": rng.integers(1, 6, ratings)}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepares a folder, to run a contestant by hand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    prepare(options.folder, trials=options.trials, epochs=options.epochs, tiny=options.tiny)


if __name__ == "__main__":
    main()
