"""Two processes that train one image head: gradients in one message, or overlapped with backward.

    python -m benchmarks.data_parallel --rounds 8

One message is what raysweep sends between CPUs, after backward, with gloo. The other way, which it
takes between GPUs, is `torch.nn.parallel.DistributedDataParallel`: it sends gradients in buckets
while backward computes the next ones. Both train the same head on the same rows, in turns,
epoch by epoch, one thread a process. One process alone stands beside them. Times are of the clock,
since processes wait for each other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from benchmarks.harness import CONSOLE, pairwise, save, scratch, spread
from raysweep.trainables.images.config import ImageHeadConfig
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.trainer import Trainer

_NUM_WORKERS = 2
_ROWS, _FEATURES, _CLASSES, _BATCH = 2048, 1280, 10, 128
# Layers of the heads: the default one of 0.3 million weights, and one of 2.4 million.
HEADS: dict[str, tuple[int, ...]] = {"small": (256,), "large": (1024, 1024)}


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"num_classes": _CLASSES, "feature_shape": (_FEATURES,)}
    for name, rows in (("train", _ROWS), ("val", _BATCH)):
        arrays[f"{name}_features"] = rng.normal(size=(rows, _FEATURES)).astype(np.float16)
        arrays[f"{name}_labels"] = rng.integers(_CLASSES, size=rows)
        arrays[f"{name}_sizes"] = np.full((rows, 2), 224, np.float32)
    return arrays | {"train_variants": np.zeros(_ROWS, np.int16)}


def _trainer(layers: tuple[int, ...], parallel: Parallel | None) -> Trainer:
    fields = {"hidden_sizes": layers, "batch_size": _BATCH, "schedule": "constant"}
    return Trainer(ImageHead(ImageHeadConfig.create(fields), _arrays()), parallel)


def _seconds(trainer: Trainer) -> float:
    generator = trainer.begin_epoch()
    start = time.perf_counter()
    trainer.train_epoch(generator)
    return time.perf_counter() - start


def _work(rank: int, folder: str, layers: tuple[int, ...], rounds: int) -> None:
    """What each process runs; the first one writes its times."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=_NUM_WORKERS
    )
    trainers = [_trainer(layers, Parallel(overlap)) for overlap in (False, True)]
    times: tuple[list[float], list[float]] = [], []
    for number in range(-1, rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            dist.barrier()
            seconds = _seconds(trainers[which])
            if number >= 0:
                times[which].append(seconds)
    weights = [trainer.learner.model.output.weight for trainer in trainers]
    away = float((weights[0] - weights[1]).detach().abs().max())
    if rank == 0:
        torch.save({"message": times[0], "overlapped": times[1], "away": away}, f"{folder}/times")
    dist.destroy_process_group()


def compare(head: str, rounds: int) -> dict[str, Any]:
    """Epochs of one of `HEADS`.

    Returns:
        seconds of each round for `message` and `overlapped`, in turns, and for `alone`, after them;
        `away`: the largest difference of a weight between both ways in the end.
    """
    layers = HEADS[head]
    with scratch() as folder:
        multiprocessing.spawn(_work, (str(folder), layers, rounds), nprocs=_NUM_WORKERS)
        times: dict[str, Any] = torch.load(folder / "times")
    torch.set_num_threads(1)
    trainer = _trainer(layers, None)
    times["alone"] = [_seconds(trainer) for _ in range(rounds + 1)][1:]
    return times


def main() -> None:
    """Runs the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="epochs of each")
    parser.add_argument("--json", type=Path, default=None, help="a file for every figure")
    options = parser.parse_args()
    record: dict[str, Any] = {}
    for head in HEADS:
        times = record[head] = compare(head, options.rounds)
        for name in ("message", "overlapped", "alone"):
            CONSOLE.print(f"{head} head, {name}: {spread(times[name], ' s')}")
        ratios = pairwise(times["overlapped"], times["message"])
        times["ratio"] = statistics.median(ratios)
        CONSOLE.print(
            f"{head} head: overlapped by one message {spread(ratios)}; weights differ by at most "
            f"{times['away']:.1e}"
        )
    save(options.json, record, {})


if __name__ == "__main__":
    main()
