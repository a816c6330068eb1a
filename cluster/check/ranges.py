"""The check of every setting's range: a model is built and trained at both ends."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from pathlib import Path
from typing import Any

import psutil

from raysweep.cluster.check.compare import explain
from raysweep.cluster.check.configurations import ends
from raysweep.cluster.check.jobs import shorten
from raysweep.cluster.check.outcome import FAILED, NOT_TRIED, PASSED, Outcome
from raysweep.cluster.check.subject import Subject
from raysweep.core.errors import UserError
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.trainer import Trainer

__all__ = ["ranges"]

_MOST_S = 20.0
_MOST_BYTES = 2 * 10**9  # of a model on one core: more takes minutes
_BATCH = 8  # a few rows say whether a model works, and activations stay small
# Float32 weights, their gradients, and Adam's two moments.
_BYTES_A_WEIGHT = 16
_ASKED = re.compile(r"tried to allocate (\d+) bytes")


def ranges(subject: Subject) -> Outcome:
    """Each setting works at its ends, the others being as they are."""
    failed, left, tried = [], [], 0
    until = time.monotonic() + _MOST_S
    all_ends = list(ends(subject))
    for number, (name, value) in enumerate(all_ends):
        if time.monotonic() > until:
            left.append(f"{len(all_ends) - number} more, for want of time")
            break
        shown = f"{name}={value[0] if isinstance(value, tuple) else value}"
        problem, reason = _try(subject, name, value)
        tried += not reason
        if problem:
            failed.append(f"{shown}: {problem}")
        if reason:
            left.append(f"{shown} ({reason})")
    not_tried = f"; not tried: {', '.join(left)}" if left else ""
    if failed:
        fix = "narrow the field with option(low=…, high=…), or make the model work at that end"
        return Outcome(FAILED, "; ".join(failed) + not_tried, fix)
    return Outcome(PASSED if tried or not left else NOT_TRIED, f"{tried} ends{not_tried}")


def _try(subject: Subject, name: str, value: Any) -> tuple[str, str]:
    """What is wrong at an end, and why it was not tried; both empty where all is well."""
    small = min(_BATCH, subject.config.batch_size)
    try:
        config = dataclasses.replace(subject.config, **{"batch_size": small, name: value})
        subject.learner_class.check(config, subject.data)
    except UserError:
        return "", "goes with other settings"
    if too_large := _too_large(subject, config):
        return "", too_large
    try:
        learner = subject.learner_class(config, subject.dataset.arrays, subject.device)
        shorten(learner, 1)
        trainer = Trainer(learner)
        loss = trainer.train_epoch(trainer.begin_epoch())
    except UserError as error:
        return "", f"is refused: {error}"
    except MemoryError:
        return "", "would need more memory than there is"
    except Exception as error:
        asked = _ASKED.search(str(error))
        return ("", _gigabytes(int(asked[1]))) if asked else (explain(error), "")
    return ("" if math.isfinite(loss) else f"the loss is {loss}"), ""


def _too_large(subject: Subject, config: TrainingConfig) -> str:
    """Why a model is not even built; its weights are counted without being drawn."""
    try:
        needed = _BYTES_A_WEIGHT * num_parameters(
            subject.learner_class, config, subject.dataset.arrays
        )
    except Exception as error:  # Such as weights whose number shows in the first batch.
        asked = _ASKED.search(str(error))
        # It failed at one array alone: that one and what training adds to it.
        needed = int(asked[1]) * _BYTES_A_WEIGHT // 4 if asked else 0
    return _gigabytes(needed) if needed > min(_MOST_BYTES, free_memory() / 2) else ""


def _gigabytes(needed: int) -> str:
    return f"would need {needed / 1e9:,.1f} GB"


def free_memory() -> int:
    """Bytes that this process may still take, within the limit of its container if it has one."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        most, used = ((group / f"memory.{n}").read_text().strip() for n in ("max", "current"))
    except OSError:
        return free
    return free if most == "max" else min(free, int(most) - int(used))
