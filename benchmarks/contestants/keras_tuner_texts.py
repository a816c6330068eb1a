"""The search by Keras Tuner's Hyperband on PyTorch, in an environment of its own, up to a goal.

python benchmarks/contestants/keras_tuner_texts.py FOLDER

As its guide "Getting started with KerasTuner" shows: a function that builds a model of `hp`, and
`search`. The network is that of `keras_text.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from keras_text import build  # first: it says which backend Keras has

# isort: split
import keras
import keras_tuner
import numpy as np

_SITES = ("word", "embedding", "conv", "pool", "dense")


class _Reached(keras.callbacks.Callback):  # type: ignore[misc]
    """Answers and ends the process once a result is as good as the target."""

    accuracies: list[float] = []  # of the class: the tuner copies its callbacks

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.accuracies.append((logs or {})["val_accuracy"])
        if self.accuracies[-1] >= self.target:
            _answer(self.accuracies, time.time() - float(os.environ["BENCHMARK_STARTED"]))
            os._exit(0)


def _answer(accuracies: list[float], *reached: float) -> None:
    answer = {"val_accuracy": max(accuracies), "num_epochs": len(accuracies), "reached_s": reached}
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Searches and answers."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    fields = json.loads((folder / "fields.json").read_text())
    data = np.load(folder / "texts.npz")
    seed = int(os.environ["BENCHMARK_SEED"])
    keras.utils.set_random_seed(seed)

    def model(hp: Any) -> keras.Model:
        rates = {
            f"{site}_dropout": hp.Float(
                f"{site}_dropout", 0.0, 0.8, default=fields[f"{site}_dropout"]
            )
            for site in _SITES
        }
        return build({**fields, **rates}, data["table"], data["train_ids"].shape[1])

    tuner = keras_tuner.Hyperband(
        model,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_epochs=task["epochs"],
        factor=3,
        seed=seed,
        directory=str(folder / "tuner"),
        project_name="texts",
    )
    tuner.search(
        data["train_ids"],
        data["train_labels"],
        batch_size=fields["batch_size"],
        validation_data=(data["val_ids"], data["val_labels"]),
        callbacks=[_Reached(task["target"])],
        verbose=0,
    )
    _answer(_Reached.accuracies)


if __name__ == "__main__":
    main()
