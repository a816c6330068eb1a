"""Regret over budget as a picture, from figures that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["draw"]

_NAMES = {
    "curves": "curves",
    "random": "random, every trial whole",
    "tpe": "TPE, every trial whole",
    "tpe-asha": "TPE with ASHA from a quarter on",
    "tpe-asha-3": "TPE with ASHA (the default)",
    "asha-promoting": "ASHA that promotes",
    "hyperband": "Hyperband",
    "optuna": "Optuna's TPE",
    "smac": "SMAC3, several fidelities",
    "bohb": "BOHB of Syne Tune",
}


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Draws the mean regret of each method.

    Intervals over tasks are left out: tasks differ far more than methods on one task do.

    Args:
        figures: of `figures.summary`, as `--json` writes them.
        path: of the PNG.
    """
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for method, by_budget in figures["regret"].items():
        budgets = [float(word) for word in by_budget]
        ours = method == "curves"
        (line,) = axes.plot(
            budgets,
            list(by_budget.values()),
            "o-",
            lw=2.5 if ours else 1.3,
            zorder=3 if ours else 2,
        )
        line.set_label(_NAMES.get(method, method))
    axes.set(xscale="log", yscale="log", xlabel="epochs of all trials, in whole trainings")
    axes.set_ylabel("still missing; 1 is a poor first epoch")
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.minorticks_off()
    ticks = (0.05, 0.1, 0.2, 0.3, 0.5)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    picture.savefig(path, dpi=200)
    plt.close(picture)
