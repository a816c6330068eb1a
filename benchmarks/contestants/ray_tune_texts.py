"""The search with Ray Tune alone, as the tutorial "Hyperparameter tuning with Ray Tune", to a goal.

https://docs.pytorch.org/tutorials/beginner/hyperparameter_tuning_tutorial.html: a function
trainable that reads its data, a checkpoint and a report an epoch, ASHA, Ray Tune's defaults. The
network is the plain one of `benchmarks.sentiment_epoch`, its default rates are the first
configuration, as they are raysweep's.

python -m benchmarks.contestants.ray_tune_texts FOLDER
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from benchmarks.contestants.protocol import options
from benchmarks.sentiment_epoch import PlainLoop
from raysweep.trainables.texts.config import SentimentConfig

_SITES = ("word", "embedding", "conv", "pool", "dense")


def train_texts(config: dict[str, Any], folder: Path, epochs: int, seed: int) -> None:
    """One trial."""
    given = json.loads((folder / "fields.json").read_text())
    fields = SentimentConfig.create({**given, **config, "seed": seed})
    arrays = dict(np.load(folder / "texts.npz"))
    loop = PlainLoop(fields, arrays, torch.from_numpy(arrays["table"]), 0)
    for _ in range(epochs):
        loop.train()
        with tempfile.TemporaryDirectory() as saved:
            state = (loop.model.state_dict(), loop.optimizer.state_dict())
            torch.save(state, Path(saved) / "checkpoint.pt")
            checkpoint = tune.Checkpoint.from_directory(saved)
            tune.report({"val_accuracy": loop.accuracy()}, checkpoint=checkpoint)


class _Reached(tune.Stopper):
    """Ends the whole search once a result is as good as the target."""

    def __init__(self, target: float) -> None:
        self.target, self.reached = target, False
        self.seconds: list[float] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result["val_accuracy"] >= self.target and not self.reached:
            self.reached = True
            self.seconds.append(time.time() - float(os.environ["BENCHMARK_STARTED"]))
        return self.reached

    def stop_all(self) -> bool:
        return self.reached


def main() -> None:
    """Searches and answers."""
    folder = options(__doc__, None).folder.resolve()
    task = json.loads((folder / "task.json").read_text())
    fields = json.loads((folder / "fields.json").read_text())
    reached, seed = _Reached(task["target"]), int(os.environ["BENCHMARK_SEED"])
    names = [f"{site}_dropout" for site in _SITES]
    trainable = partial(train_texts, folder=folder, epochs=task["epochs"], seed=seed)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={name: tune.uniform(0.0, 0.8) for name in names},
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=task["trials"],
            scheduler=ASHAScheduler(max_t=task["epochs"], grace_period=1, reduction_factor=2),
            search_alg=BasicVariantGenerator(
                points_to_evaluate=[{name: fields[name] for name in names}], random_state=seed
            ),
        ),
        run_config=tune.RunConfig(
            name="ray_tune",
            storage_path=str(folder / "ray_results"),
            stop=reached,
        ),
    )
    tables = [result.metrics_dataframe for result in tuner.fit()]
    # Trials that never began have an empty table.
    begun = [table["val_accuracy"] for table in tables if table is not None and len(table)]
    accuracies = [float(value) for column in begun for value in column]
    answer = {
        "val_accuracy": max(accuracies),
        "num_epochs": len(accuracies),
        "reached_s": reached.seconds,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
