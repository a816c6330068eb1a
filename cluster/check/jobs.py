"""An epoch to train in another process: what it is told, and what it answers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from raysweep.cluster.check.compare import Epoch
from raysweep.trainables.learner import Learner

__all__ = [
    "ANSWER",
    "ERROR",
    "GROUP",
    "JOB",
    "OUTPUT",
    "STATE",
    "Answer",
    "Job",
    "shorten",
    "without_dropout",
]

ANSWER, STATE = "answer.safetensors", "state.safetensors"
ERROR, JOB, GROUP, OUTPUT = "error.txt", "job", "group", "output.txt"


@dataclass(frozen=True)
class Job:
    """An epoch to train in another process.

    Attributes:
        folder: for what the process is told and what it answers.
        learner: the target that names the class, or the class itself, or any code of Ray Tune's.
        config: its fields.
        arrays: the data.
        device: "cpu" or "cuda".
        max_batches: that the epoch is cut to.
        state: a folder with a state to start from.
        kill: whether the process kills itself when it has written its state.
        rank: its number among those that share each batch.
        num_workers: how many these are.
        no_dropout: whether dropout layers drop nothing.
        trains: whether anything is trained, or the code only has to arrive.
    """

    folder: Path
    learner: Any
    config: dict[str, Any]
    arrays: dict[str, Any]
    device: str = "cpu"
    max_batches: int | None = None
    state: Path | None = None
    kill: bool = False
    rank: int = 0
    num_workers: int = 1
    no_dropout: bool = False
    trains: bool = True


@dataclass(frozen=True)
class Answer:
    """What came of a job.

    Attributes:
        epoch: what was trained; None where that failed.
        error: why anything failed, on one line.
        code: the process's exit code; -9 for one that was killed.
        folder: of the job.
    """

    epoch: Epoch | None
    error: str
    code: int
    folder: Path


def shorten(learner: Learner[Any], max_batches: int | None) -> None:
    """Cuts a learner's epochs to so many batches; None leaves them whole."""
    if max_batches is None:
        return
    batches, count = learner.batches, min(max_batches, learner.num_batches())
    vars(learner).update(
        batches=lambda generator: itertools.islice(batches(generator), count),
        num_batches=lambda: count,
    )


def without_dropout(learner: Learner[Any]) -> None:
    """Has a model's dropout layers drop nothing."""
    for layer in learner.model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
