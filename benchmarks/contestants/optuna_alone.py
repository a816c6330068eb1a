"""The search with Optuna alone, as Optuna's own PyTorch example: one process, one loop.

https://github.com/optuna/optuna-examples/blob/main/pytorch/pytorch_simple.py: data are read in the
objective, the DataLoader has no workers, PyTorch takes the threads that it takes by default, and
nothing is saved. Pruning is off, and the fixed configurations are enqueued.

python -m benchmarks.contestants.optuna_alone FOLDER
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import optim

from benchmarks import problem
from benchmarks.contestants.protocol import answer, options
from benchmarks.contestants.textbook import (
    Net,
    RatingsDataset,
    linear_to_zero,
    make_loaders,
    train_epoch,
    validate,
)

_SEARCHED = ("embedding_l2", "bias_l2", "num_factors")


def objective(
    trial: optuna.Trial, folder: Path, task: problem.Problem, default: dict[str, Any]
) -> float:
    """One trial; returns the best epoch's error."""
    config = {
        **default,
        # Wide enough for every enqueued value: nothing is drawn.
        "embedding_l2": trial.suggest_float("embedding_l2", 1e-9, 1e3, log=True),
        "bias_l2": trial.suggest_float("bias_l2", 1e-9, 1e3, log=True),
        "num_factors": trial.suggest_int("num_factors", 1, 4096, log=True),
    }
    torch.manual_seed(config["seed"])
    train_set, val_set = RatingsDataset(folder / "train.csv"), RatingsDataset(folder / "val.csv")
    net = Net(task.num_users, task.num_items, train_set, config)
    optimizer = optim.Adam(net.parameters(), lr=config["learning_rate"])
    train_loader, val_loader = make_loaders(train_set, val_set, config["batch_size"], num_workers=0)
    schedule = linear_to_zero(optimizer, config["epochs"] * len(train_loader))
    errors, compute = [], 0.0
    for epoch in range(config["epochs"]):
        start = time.perf_counter()
        train_epoch(net, train_loader, optimizer, schedule)
        errors.append(validate(net, val_loader, task.lowest, task.highest))
        compute += time.perf_counter() - start
        trial.report(errors[-1], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("compute_s", compute)
    return min(errors)


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches and answers."""
    given = options(__doc__, arguments)
    task = problem.read(given.folder)
    points = task.points[: given.trials]
    start = time.perf_counter()
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.RandomSampler(seed=task.seed),
        pruner=optuna.pruners.NopPruner(),
    )
    for point in points:
        study.enqueue_trial({name: point[name] for name in _SEARCHED})
    study.optimize(lambda trial: objective(trial, given.folder, task, points[0]), len(points))
    answer(
        best_val_rmse=study.best_value,
        num_trials=len(study.trials),
        num_epochs=sum(len(trial.intermediate_values) for trial in study.trials),
        search_s=time.perf_counter() - start,
        compute_s=sum(trial.user_attrs["compute_s"] for trial in study.trials),
    )


if __name__ == "__main__":
    main()
