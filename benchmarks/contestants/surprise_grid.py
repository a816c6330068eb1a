"""The search by Surprise's GridSearchCV over its own SVD, in an environment of its own.

python benchmarks/contestants/surprise_grid.py FOLDER

As its guide "Tune algorithm parameters with GridSearchCV" shows, with all cores. FOLDER is made by
`benchmarks.problem`; the only fold is raysweep's split. As many configurations as the problem has:
five sizes of embeddings, two rates and as many regularisations as that leaves, or if their number
cannot be divided so, regularisations alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from surprise import SVD, Dataset, Reader
from surprise.model_selection import GridSearchCV, PredefinedKFold

_SIZES, _RATES = [8, 16, 32, 64, 128], [0.005, 0.01]


def main() -> None:
    """Searches and answers."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "problem.json").read_text())
    number = len(task["points"])
    sizes, rates = (_SIZES, _RATES) if number % 10 == 0 else ([64], [0.005])
    penalties = number // (len(sizes) * len(rates))
    grid = {
        "n_factors": sizes,
        "lr_all": rates,
        "reg_all": np.geomspace(0.01, 0.2, penalties).tolist(),
        "n_epochs": [task["epochs"]],
        "random_state": [0],
    }
    start = time.perf_counter()
    scale = (task["lowest"], task["highest"])
    reader = Reader(line_format="user item rating", sep=",", skip_lines=1, rating_scale=scale)
    files = [(str(folder / "train.csv"), str(folder / "val.csv"))]
    data = Dataset.load_from_folds(files, reader)
    jobs = len(os.sched_getaffinity(0))
    search = GridSearchCV(SVD, grid, measures=["rmse"], cv=PredefinedKFold(), n_jobs=jobs)
    search.fit(data)
    trials = len(search.cv_results["params"])
    print(
        json.dumps(
            {
                "best_val_rmse": float(search.best_score["rmse"]),
                "num_trials": trials,
                "num_epochs": trials * task["epochs"],
                "search_s": time.perf_counter() - start,
                "compute_s": float(sum(search.cv_results["mean_fit_time"])),
            }
        )
    )


if __name__ == "__main__":
    main()
