"""The report's pictures of several objectives: the front, and how much of the box it covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from raysweep.analysis.report.page import Picture, picture
from raysweep.analysis.report.style import BLUE, GREEN, GREY, ORANGE, new_figure

if TYPE_CHECKING:
    from raysweep.analysis.report.trials import Trials

__all__ = ["front_picture", "hypervolume_picture"]

_LABELLED = 6
_DECADE = 10.0  # a ratio of both ends of an axis from which on it is logarithmic


def front_picture(trials: Trials, rows: list[int], title: str) -> Picture:
    """The first two objectives of every trial, the front joined by a line of steps.

    Args:
        trials: with several objectives.
        rows: those of the front, in order of the first objective.
        title: the finding.
    """
    second, first = trials.objectives[1], trials.objectives[0]
    signs = np.array([1.0 if o.mode == "min" else -1.0 for o in trials.objectives])
    values = trials.losses * signs
    known = np.isfinite(values).all(axis=1)
    figure, ax = new_figure(title, 3.4)
    others = known.copy()
    others[rows] = False
    ax.plot(values[others, 1], values[others, 0], "o", color=GREY, markersize=4, alpha=0.7,
            label="other trials")  # fmt: skip
    if len(trials.objectives) == 2:
        stairs = values[sorted(rows, key=lambda row: trials.losses[row, 1])]
        ax.step(stairs[:, 1], stairs[:, 0], where="post", color=BLUE, linewidth=1)
    ax.plot(values[rows, 1], values[rows, 0], "o", color=BLUE, markersize=6, label="front")
    for row in rows[:: max(1, -(-len(rows) // _LABELLED))]:
        ax.annotate(
            str(trials.number(row)),
            (values[row, 1], values[row, 0]),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
        )
    if trials.default is not None:
        ax.plot(*values[trials.default, [1, 0]], "D", color=ORANGE, markersize=7, label="default",
                fillstyle="none", markeredgewidth=1.8)  # fmt: skip
    span = values[known, 1]
    if span.min() > 0 and span.max() > _DECADE * span.min():
        ax.set_xscale("log")
    ax.set_xlabel(f"{second.name} ({_better(second.mode)} is better)", fontsize=8.5)
    ax.set_ylabel(f"{first.name} ({_better(first.mode)} is better)", fontsize=8.5)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return picture(figure, "front", f"Trials by {first.name} and {second.name}. {title}")


def hypervolume_picture(trials: Trials, shares: np.ndarray, title: str) -> Picture:
    """The share of the box that the trials so far cover.

    Args:
        trials: in the order they started.
        shares: of `hypervolume_curve`, [n].
        title: the finding.
    """
    figure, ax = new_figure(title, 2.7)
    from matplotlib.ticker import MaxNLocator

    ax.step(np.arange(1, len(shares) + 1), 100.0 * shares, where="post", color=GREEN, linewidth=2)
    ax.set_ylim(bottom=0.0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.set_xlabel("trials", fontsize=8.5)
    ax.set_ylabel("hypervolume (% of the box)", fontsize=8.5)
    return picture(figure, "hypervolume", f"Hypervolume over {len(trials)} trials. {title}")


def _better(mode: str) -> str:
    return "lower" if mode == "min" else "higher"
