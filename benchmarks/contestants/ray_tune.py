"""The search with Ray Tune alone, as the PyTorch tutorial "Hyperparameter tuning with Ray Tune".

https://docs.pytorch.org/tutorials/beginner/hyperparameter_tuning_tutorial.html: a function
trainable that reads its data, DataLoaders with 8 workers, a pickled checkpoint and a report an
epoch, and Ray Tune's defaults: a process a trial, loggers, a dashboard. Its schedule is left
out, and the fixed configurations come as a grid.

python -m benchmarks.contestants.ray_tune FOLDER --num-workers 8
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
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


def train_ratings(
    config: dict[str, Any], data_dir: Path, task: problem.Problem, num_workers: int
) -> None:
    """One trial."""
    config = config["point"]
    torch.manual_seed(config["seed"])
    train_set, val_set = (
        RatingsDataset(data_dir / "train.csv"),
        RatingsDataset(data_dir / "val.csv"),
    )
    net = Net(task.num_users, task.num_items, train_set, config)
    optimizer = optim.Adam(net.parameters(), lr=config["learning_rate"])
    train_loader, val_loader = make_loaders(train_set, val_set, config["batch_size"], num_workers)
    schedule = linear_to_zero(optimizer, config["epochs"] * len(train_loader))
    start_epoch = 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder, (Path(folder) / "data.pkl").open("rb") as file:
            state = pickle.load(file)
        start_epoch = state["epoch"] + 1
        net.load_state_dict(state["net_state_dict"])
        optimizer.load_state_dict(state["optimizer_state_dict"])
        schedule.load_state_dict(state["schedule_state_dict"])
    for epoch in range(start_epoch, config["epochs"]):
        start = time.perf_counter()
        loss = train_epoch(net, train_loader, optimizer, schedule)
        rmse = validate(net, val_loader, task.lowest, task.highest)
        metrics = {"loss": loss, "val_rmse": rmse, "compute_s": time.perf_counter() - start}
        state = {
            "epoch": epoch,
            "net_state_dict": net.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "schedule_state_dict": schedule.state_dict(),
        }
        with tempfile.TemporaryDirectory() as folder:
            with (Path(folder) / "data.pkl").open("wb") as file:
                pickle.dump(state, file)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches and answers."""
    given = options(__doc__, arguments)
    task = problem.read(given.folder)
    data_dir = given.folder.resolve()
    trainable = partial(train_ratings, data_dir=data_dir, task=task, num_workers=given.num_workers)
    start = time.perf_counter()
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"point": tune.grid_search(task.points[: given.trials])},
        tune_config=tune.TuneConfig(
            metric="val_rmse", mode="min", max_concurrent_trials=given.concurrency
        ),
        run_config=tune.RunConfig(name="ray_tune", storage_path=str(data_dir / "ray_results")),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    best = results.get_best_result(scope="all")
    tables = [result.metrics_dataframe for result in results]
    answer(
        best_val_rmse=float(best.metrics_dataframe["val_rmse"].min()),
        num_trials=len(tables),
        num_epochs=sum(len(table) for table in tables),
        search_s=time.perf_counter() - start,
        compute_s=float(sum(table["compute_s"].sum() for table in tables)),
    )


if __name__ == "__main__":
    main()
