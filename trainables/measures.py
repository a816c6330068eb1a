"""What can be measured of any model besides its metrics: size, memory, time.

Objectives and constraints may name these. A trial measures what they name, and nothing else.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil
import torch

from raysweep.trainables.learner import Learner

__all__ = ["Meter"]

_PASSES = 9
_MEGABYTE = 1e6
_PEAK = "VmHWM:"


class Meter:
    """Measures a trial after each of its epochs.

    Args:
        names: what to measure, of `core.objectives.MEASURES`; the trainable times epochs itself.
        device: that the trial trains on.
    """

    def __init__(self, names: Collection[str], device: torch.device) -> None:
        self._names, self._device = frozenset(names), device
        if "memory_mb" in self._names:
            _forget_peak(device)

    def measure(self, learner: Learner[Any]) -> dict[str, float]:
        """What was asked for, by name.

        Args:
            learner: as it is after an epoch; it stays as it is.
        """
        measured: dict[str, float] = {}
        if "num_parameters" in self._names:
            measured["num_parameters"] = sum(p.numel() for p in learner.model.parameters())
        if "memory_mb" in self._names:  # Before the latency's passes, which are not training.
            measured["memory_mb"] = _peak(self._device) / _MEGABYTE
        if "latency_ms" in self._names:
            measured["latency_ms"] = _latency(learner)
        return measured


def _latency(learner: Learner[Any]) -> float:
    """Milliseconds of a pass over the first `batch_size` validation examples, the median of 9.

    The first pass is left out: it allocates memory. A family whose validation set cannot be cut
    into rows (`splits` is "no") passes over all of it.
    """
    rows = None
    if learner.splits != "no":
        size = int(getattr(learner.config, "batch_size", 1))
        rows = slice(0, min(size, learner.num_validation_examples()))
    times = []
    for _ in range(_PASSES + 1):
        _wait(learner.device)
        start = time.perf_counter()
        learner.validate(rows)
        _wait(learner.device)
        times.append(time.perf_counter() - start)
    return 1000.0 * statistics.median(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: torch.device) -> None:
    """Starts anew: one process runs many trials, one after the other."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        # proc(5): 5 sets the peak resident set size to what is resident now.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> float:
    """Bytes at the peak; where the system keeps none that can be set back, those of now."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, StopIteration):
            lines = Path("/proc/self/status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith(_PEAK))
            return 1024.0 * float(peak.removeprefix(_PEAK).split()[0])
    return float(psutil.Process().memory_info().rss)
