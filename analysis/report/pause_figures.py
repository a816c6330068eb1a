"""The report's pictures of a search that pauses trials: what it decided and expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.report.page import Picture, picture
from raysweep.analysis.report.stages import kind
from raysweep.analysis.report.style import BLUE, GREEN, GREY, ORANGE, RED, new_figure

if TYPE_CHECKING:
    from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["decisions_picture", "finals_picture", "promising"]

_MOST_FORECASTS = 12
_COLORS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9")
_KINDS = {"default": "default", "new": "new trials", "resume": "resumed trials"}
_KIND_COLORS = {"default": "black", "new": BLUE, "resume": ORANGE}


def promising(trials: Trials, facts: RunFacts) -> list[int]:
    """The dozen paused trials of which most is expected in the end, the best first."""
    sign = trials.sign
    known = [
        n for row, n in enumerate(map(trials.number, range(len(trials)))) if trials.curves[row]
    ]
    ranked = sorted(
        set(facts.finals) & set(known), key=lambda index: (-sign * facts.finals[index][0], index)
    )
    return ranked[:_MOST_FORECASTS]


def finals_picture(trials: Trials, facts: RunFacts, title: str) -> Picture:
    """Learning curves, and beside them where the most promising paused trials would end."""
    figure, ax = new_figure(title, 3.9)
    most = max(facts.max_epochs, 1)
    rows = {trials.number(row): row for row in range(len(trials))}
    shown = promising(trials, facts)
    known = (trials.best, trials.default)
    for row, curve in enumerate(trials.curves):
        if curve and row not in known and trials.number(row) not in shown:
            ax.plot(range(1, len(curve) + 1), curve, color="0.8", linewidth=0.7, zorder=1)
            ax.plot(len(curve), curve[-1], ".", color="0.8", markersize=3, zorder=1)
    ends = np.linspace(1.0, 1.0 + 0.045 * max(len(shown), 1), max(len(shown), 1) + 1)[1:] * most
    for k, (index, x) in enumerate(zip(shown, ends, strict=False)):
        color, curve = _COLORS[k % len(_COLORS)], trials.curves[rows[index]]
        middle, low, high = facts.finals[index]
        ax.plot(range(1, len(curve) + 1), curve, color=color, linewidth=1.2, zorder=3)
        ax.plot(len(curve), curve[-1], "s", color=color, markersize=3.5, zorder=3)
        line = [len(curve), x], [curve[-1], middle]
        ax.plot(*line, ":", color=color, linewidth=0.8, alpha=0.6, zorder=2)
        ax.plot([x, x], [low, high], color=color, linewidth=2, solid_capstyle="butt", zorder=3)
        ax.plot(x, middle, "o", color=color, markersize=3.5, zorder=4)
        # At the good end of the band: the other one may be cut off.
        ax.annotate(
            f"{index}",
            (x, high if trials.mode == "max" else low),
            xytext=(0, 2 * trials.sign),
            textcoords="offset points",
            ha="center",
            va="bottom" if trials.mode == "max" else "top",
            fontsize=6.5,
            color=color,
        )
    for at, label, style in ((trials.default, "default", "--"), (trials.best, "best so far", "-")):
        if at is not None and trials.curves[at]:
            curve = trials.curves[at]
            ax.plot(
                range(1, len(curve) + 1), curve, style, color="black", linewidth=1.8, label=label
            )
    if trials.best is not None:
        ax.axhline(trials.values[trials.best], color="0.3", linewidth=0.7, zorder=0)
    ax.plot([], [], "s-", color=GREY, label="paused")
    ax.plot([], [], "o:", color=GREY, label="expected in the end, with 95% band")
    ax.plot([], [], color="0.8", label="other trials")
    ax.axvline(most, color="0.85", linewidth=0.8, zorder=0)
    _limits(ax, trials, facts, shown)
    _epochs(ax, most)
    ax.set_xlabel("epoch; right of the line: where paused trials would end", fontsize=8.5)
    better = "higher" if trials.mode == "max" else "lower"
    ax.set_ylabel(f"{trials.metric} ({better} is better)", fontsize=8.5)
    figure.legend(fontsize=7.5, frameon=False, loc="outside lower center", ncols=3)
    return picture(figure, "pauses", f"Learning curves with predicted final values. {title}")


def _limits(ax: Any, trials: Trials, facts: RunFacts, shown: Sequence[int]) -> None:
    """All expectations, half of the bands and of their curves' ends; of the rest what fits."""
    sign = trials.sign
    rows = {trials.number(row): row for row in range(len(trials))}
    good = [sign * trials.values[at] for at in (trials.best, trials.default) if at is not None]
    good += [sign * facts.finals[index][0] for index in shown]
    bands = np.array([sorted(sign * v for v in facts.finals[index][1:]) for index in shown])
    ends = [sign * trials.curves[rows[index]][-1] for index in shown]
    high, low = max([*good, *bands[:, 1]]), min([*good, np.median(bands[:, 0]), np.median(ends)])
    margin = 0.07 * (high - low) or 0.01
    limits = sign * np.array([low - margin, high + margin])
    ax.set_ylim(limits.min(), limits.max())


def _epochs(ax: Any, most: int) -> None:
    """Whole numbers up to the last epoch."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=7, integer=True, min_n_ticks=1).tick_values(1, most)
    ax.set_xticks([int(t) for t in ticks if 1 <= t <= most])


def decisions_picture(trials: Trials, facts: RunFacts, title: str) -> Picture:
    """Which trial trained when: a line for each stretch without a pause."""
    figure, ax = new_figure(title, 3.3)
    for stage in facts.stages:
        if stage.end > stage.start:
            span = [stage.after, stage.after + stage.end - stage.start]
            color = _KIND_COLORS[kind(stage)]
            ax.plot(span, [stage.trial] * 2, color=color, linewidth=2.4, solid_capstyle="butt")
    for index in {s.trial for s in facts.stages if s.why == "resume"}:
        ends = [(s.after, s.after + s.end - s.start) for s in facts.stages if s.trial == index]
        ax.plot([ends[0][1], ends[-1][0]], [index] * 2, color="0.8", linewidth=0.7, zorder=0)
    for name, label in _KINDS.items():
        if any(kind(s) == name for s in facts.stages):
            ax.plot([], [], color=_KIND_COLORS[name], linewidth=2.4, label=label)
    ax.set_xlabel("epochs of all trials together", fontsize=8.5)
    ax.set_ylabel("trial", fontsize=8.5)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return picture(figure, "decisions", f"Which trial trained when. {title}")
