"""How the report's pictures look: as wide as a phone, in colours that everyone can tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "RED", "VERDICT_COLORS", "new_figure", "number"]

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8a8a"
VERDICT_COLORS = {"helps": GREEN, "hurts": RED, "both": BLUE, "no measurable difference": "#666666"}
WIDTH = 5.0  # inches: 480 CSS pixels, so that letters are legible on a screen of 375


def new_figure(title: str, height: float, panels: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure with its finding as the title, and its axes: one, or an array of them in a row.

    Args:
        title: the finding; long ones are wrapped.
        height: of all, in inches.
        panels: axes side by side.
        options: for `Figure.subplots`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, **options)
    lines = textwrap.fill(title, 54)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
    for ax in [axes] if panels == 1 else list(axes):
        plain(ax)
    return figure, axes


def plain(ax: Axes, grid: str = "both") -> None:
    """No frame, a light grid behind."""
    ax.grid(color="0.92", axis=grid)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8.5)


def rows(ax: Axes, names: Sequence[str], width: int = 26) -> None:
    """Names as rows from the top down, without a vertical axis."""
    labels = [textwrap.fill(name, width) for name in names]
    ax.set_yticks(range(len(names)), labels, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def number(value: Any) -> str:
    """A field's value for people."""
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(number(v) for v in value) or "none"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3g}"
