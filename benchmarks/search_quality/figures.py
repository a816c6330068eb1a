"""Means, intervals and comparisons of regrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["OFFSET", "interval", "pair", "summary"]

OFFSET = 0.003  # added to regrets before they are compared as ratios: below, none is better
_DRAWS = 10_000


def interval(by_task: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean over tasks, drawn with replacement.

    Args:
        by_task: a figure of each task, [number of tasks].
    """
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(by_task), size=(_DRAWS, len(by_task)))
    low, high = np.quantile(by_task[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def pair(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Compares two searchers at one budget.

    Args:
        ours: regrets, [number of tasks, number of seeds].
        theirs: regrets of the same tasks and seeds.

    Returns:
        ratio: the geometric mean of (regret + 0.003), ours by theirs; interval: of the ratio;
        won: tasks where our mean regret is the smaller one; tasks: how many there are.
    """
    logs = np.log(ours + OFFSET) - np.log(theirs + OFFSET)
    low, high = interval(logs.mean(axis=1))
    return {
        "ratio": float(np.exp(logs.mean())),
        "interval": [float(np.exp(low)), float(np.exp(high))],
        "won": int((ours.mean(axis=1) < theirs.mean(axis=1)).sum()),
        "tasks": len(ours),
    }


def summary(
    regrets: np.ndarray, methods: Sequence[str], tasks: Sequence[str], budgets: Sequence[float]
) -> dict[str, Any]:
    """All figures, in dictionaries by method, then by budget as text.

    Args:
        regrets: [number of methods, tasks, seeds, budgets].
        methods: names.
        tasks: names.
        budgets: in full trainings.

    Returns:
        regret: means; intervals: their 95% bootstrap intervals over tasks; pairs: `pair` of every
        two methods; by_task: means over seeds.
    """
    words = [f"{budget:g}" for budget in budgets]
    by_task = regrets.mean(axis=2)  # [methods, tasks, budgets]
    found: dict[str, Any] = {"regret": {}, "intervals": {}, "pairs": {}, "by_task": {}}
    for m, method in enumerate(methods):
        columns = list(enumerate(words))
        found["regret"][method] = {word: float(by_task[m, :, b].mean()) for b, word in columns}
        found["intervals"][method] = {w: list(interval(by_task[m, :, b])) for b, w in columns}
        found["by_task"][method] = {
            task: {word: float(by_task[m, t, b]) for b, word in columns}
            for t, task in enumerate(tasks)
        }
        found["pairs"][method] = {
            other: {word: pair(regrets[m, :, :, b], regrets[o, :, :, b]) for b, word in columns}
            for o, other in enumerate(methods)
            if o != m
        }
    return found
