"""Wall-clock of a dropout search on texts, up to a fixed validation accuracy.

    python -m benchmarks.sentiment_search --data-dir ../shared/data            # 0.88, 3 rounds
    python -m benchmarks.sentiment_search --data-dir ../shared/data --repeats 5 --keras-repeats 0
    python -m benchmarks.sentiment_search --data-dir ../shared/data --repeats 1 --target 0.86

raysweep, Ray Tune as its tutorial shows, Keras Tuner's Hyperband on PyTorch. The same reviews and
split, network, batch size and optimiser, and at most as many epochs a trial. The others get encoded
texts; all end when one validation accuracy is as high as the target. raysweep and Ray Tune begin
with the default configuration, which may reach the target by itself: how soon, is luck, so each
round has a seed of its own, the same for all. A run is a fresh process; what counts is the time
from its start to the target, or to its end if that was not reached.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.harness import (
    CONSOLE,
    RIVALS,
    Contestant,
    in_turns,
    pairwise,
    save,
    scratch,
    spread,
    verdict,
)
from benchmarks.sentiment_epoch import problem

_WHERE = "benchmarks.contestants"
RAYSWEEP = Contestant("raysweep", f"{_WHERE}.raysweep_texts")
RAY_TUNE = Contestant(
    "Ray Tune, tutorial", f"{_WHERE}.ray_tune_texts", (), {"RAY_ADDRESS": "local"}
)
KERAS = Contestant("Keras Tuner, Hyperband", f"{_WHERE}.keras_tuner_texts", python=RIVALS)
_GOAL = 0.25


def _write(folder: Path, data_dir: str | None, trials: int, epochs: int, target: float) -> None:
    config, dataset, table = problem("cnn", data_dir)
    names = ("train_ids", "train_labels", "val_ids", "val_labels")
    np.savez(folder / "texts.npz", table=table.numpy(), **{k: dataset.arrays[k] for k in names})
    (folder / "fields.json").write_text(json.dumps(config.to_dict()))
    where = str(Path(data_dir).resolve()) if data_dir else None
    task = {"data_dir": where, "trials": trials, "epochs": epochs, "target": target}
    (folder / "task.json").write_text(json.dumps(task))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the contestants in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", default=None, help="folder with the reviews")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keras-repeats", type=int, default=1, help="a round takes 5 to 9 minutes")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--target", type=float, default=0.88, help="validation accuracy")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    with scratch() as folder:
        _write(folder, options.data_dir, options.trials, options.epochs, options.target)
        runs = in_turns([RAYSWEEP, RAY_TUNE], folder, options.repeats)
        if not RIVALS.exists():
            CONSOLE.print("Keras Tuner is left out: `make rivals` installs it")
        elif options.keras_repeats:
            runs |= in_turns([KERAS], folder, min(options.keras_repeats, options.repeats))
    table = Table("contestant", "seconds", "raysweep takes of it", "to its end", "val accuracy")
    needed = {
        name: [
            one.answer["reached_s"][0] if one.answer["reached_s"] else one.seconds for one in those
        ]
        for name, those in runs.items()
    }
    goals = []
    for name, those in runs.items():
        ratios = pairwise(needed[RAYSWEEP.name][: len(those)], needed[name])
        accuracies = [one.answer["val_accuracy"] for one in those]
        whole = spread([one.seconds for one in those], digits=1)
        table.add_row(
            name,
            spread(needed[name], digits=1),
            spread(ratios),
            whole,
            spread(accuracies, digits=4),
        )
        if min(accuracies) < options.target:
            CONSOLE.print(f"{name} ended below {options.target}: its time is a lower bound")
        if name != RAYSWEEP.name:
            goals.append(verdict(f"time by {name}'s", statistics.median(ratios), _GOAL))
    CONSOLE.print(table)
    save(options.json, {"configuration": vars(options) | {"json": None}, "goals": goals}, runs)


if __name__ == "__main__":
    main()
