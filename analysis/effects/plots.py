"""Pictures of effects: for each field what its values do to the metric, with the 95% band."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raysweep.analysis.effects.effect import Effect
from raysweep.analysis.effects.sentences import Unit
from raysweep.core.storage import Storage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_effect_panel", "log_axis", "plot_effects"]

# Okabe and Ito's palette, which colour-blind readers tell apart.
_COLORS = {
    "helps": "#009E73",
    "hurts": "#D55E00",
    "both": "#0072B2",
    "no measurable difference": "#777777",
}
_TITLES = {"both": "helps and hurts"}
_MAX_PANELS = 12


def plot_effects(effects: Sequence[Effect], metric: str, path: Path) -> None:
    """Draws a panel for each effect, at most 12, as one PNG; above the line of 0 is better.

    Args:
        effects: the most important one first, at least one.
        metric: the metric's name.
        path: the PNG file; an older one is replaced.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, unit = effects[:_MAX_PANELS], Unit(metric)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(max(7.0, 3.7 * columns), 2.9 * rows + 0.7), dpi=130)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for ax, effect in zip(panels, shown, strict=False):
        draw_effect_panel(ax, effect, unit)
    for ax in panels[len(shown) :]:
        ax.remove()
    for ax in panels[: len(shown) : columns]:
        ax.set_ylabel(f"better by ({unit.name})")
    _limit(panels[0], shown, unit)
    figure.suptitle(_title(shown), x=0.01, ha="left", fontsize=12, fontweight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    figure.clear()
    Storage(path.parent).write(path.name, buffer.getvalue())


def _title(effects: Sequence[Effect]) -> str:
    """The title: what helps, what hurts."""
    parts = []
    for word, verdicts in (("helps", ("helps", "both")), ("hurts", ("hurts", "both"))):
        names = [e.field for e in effects if e.verdict in verdicts]
        if names:
            verb = word if len(names) == 1 else word.removesuffix("s")
            parts.append(f"{', '.join(names)} {verb}")
    return "; ".join(parts) if parts else "No field made a measurable difference"


def draw_effect_panel(ax: Axes, effect: Effect, unit: Unit) -> None:
    """Draws one effect: a curve with its band, or a dot with its interval for each word."""
    gain, half = unit.factor * effect.gain, unit.factor * effect.half_width
    color = _COLORS[effect.verdict]
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    if isinstance(effect.reference, (str, bool)):
        x = np.arange(len(effect.grid))
        ax.errorbar(x, gain, half, fmt="o", color=color, capsize=4)
        ax.set_xticks(x, [str(v) for v in effect.grid])
        ax.set_xlim(-0.5, len(x) - 0.5)
    else:
        ax.fill_between(effect.grid, gain - half, gain + half, color=color, alpha=0.2, linewidth=0)
        ax.plot(effect.grid, gain, color=color, linewidth=1.8)
        if effect.log:
            log_axis(ax, effect.grid[-1] / effect.grid[0])
        _rug(ax, effect)
    ax.set_xlabel(effect.field)
    ax.set_title(_TITLES.get(effect.verdict, effect.verdict), loc="left", fontsize=10, color=color)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def log_axis(ax: Axes, ratio: float) -> None:
    """Within three decades plain numbers (20, 50, 100), as many as do not overlap."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_xscale("log")
    if ratio < 1000:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 60 else (1.0,)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())


def _rug(ax: Axes, effect: Effect) -> None:
    """A tick for each trial: where there are few, the band is wide."""
    from matplotlib.transforms import blended_transform_factory

    across = blended_transform_factory(ax.transData, ax.transAxes)
    tried = [value for value in effect.tried if value is not None]
    ax.plot(tried, np.full(len(tried), 0.015), "|", color="0.3", transform=across, markersize=6)


def _limit(ax: Axes, effects: Sequence[Effect], unit: Unit) -> None:
    """All panels share the scale; a band that reaches far down does not flatten the rest."""
    low = min(float(e.gain.min()) for e in effects)
    high = max(float((e.gain + e.half_width).max()) for e in effects)
    span = max(high - low, 1e-12)
    ax.set_ylim(unit.factor * (low - 0.35 * span), unit.factor * (high + 0.1 * span))
