"""Pictures of a search: what each field did to the metric, and how the best came about."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import UserError, nearest
from data.storage import Storage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_search"]

# Okabe and Ito's palette, which colour-blind readers tell apart: marker, colour, size in points².
_LOOKS: dict[str, tuple[str, str, float]] = {
    "finished": ("o", "#0072B2", 24),
    "stopped": ("s", "#E69F00", 16),
    "running": ("D", "#999999", 16),
    "failed": ("x", "#000000", 30),
}
_LOG_DECADES = 1.5
_MAX_CATEGORIES = 10
_FAR = 6.0  # times the median distance from the best: what lies beyond is not drawn to scale


@dataclass(frozen=True)
class _Search:
    """A search, checked: a row a trial in the order they started, the metric as float."""

    table: pd.DataFrame
    values: np.ndarray
    metric: str
    mode: str
    best: int
    default: int | None
    limit: float

    @property
    def sign(self) -> float:
        return 1.0 if self.mode == "min" else -1.0

    @property
    def shown(self) -> np.ndarray:
        """The metric, held at the limit beyond it and for trials without a value."""
        worst = np.where(np.isfinite(self.values), self.values, self.sign * np.inf)
        return self.sign * np.minimum(self.sign * worst, self.sign * self.limit)

    @property
    def beyond(self) -> np.ndarray:
        return np.isfinite(self.values) & (self.sign * (self.values - self.limit) > 0)


def plot_search(
    table: pd.DataFrame, fields: Sequence[str], metric: str, mode: str, path: Path
) -> None:
    """Draws a panel for each searched field, and one for the best so far, as one PNG.

    Numbers get a logarithmic axis when they span more than 1.5 decades (one that also shows 0 if
    some are 0); truth values and words get a jittered strip each, with its median, the best first.
    The metric's axis ends at 6 times the median trial's distance from the best: trials beyond, and
    failed ones, are drawn on its edge, and the figure says how many.

    Args:
        table: a row a trial, as `Ledger.table` makes it: trial (its number, from 0; 0 has the
            default configuration), status, the metric's best value, and `config.FIELD` columns.
        fields: the searched fields, without `config.`.
        metric: the column to judge by.
        mode: "min" or "max".
        path: the PNG file; an older one is replaced.

    Raises:
        UserError: a column is missing, no field is given, or no trial has a value.
    """
    search = _search(table, fields, metric, mode)
    figure = _figure(search, fields)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    figure.clear()
    Storage(path.parent).write(path.name, buffer.getvalue())


def _search(table: pd.DataFrame, fields: Sequence[str], metric: str, mode: str) -> _Search:
    if mode not in ("min", "max"):
        raise UserError(f"mode={mode!r} is not one of min, max")
    if not fields:
        raise UserError("no field to plot; name at least one that was searched")
    known = {str(c).removeprefix("config.") for c in table.columns if str(c).startswith("config.")}
    for field in fields:
        if field not in known:
            raise UserError(f"the trials have no field '{field}'{nearest(field, known)}")
    if metric not in table.columns:
        hint = nearest(metric, [str(c) for c in table.columns if str(c).startswith("val_")])
        raise UserError(f"the trials have no metric '{metric}'{hint}; did all of them fail?")
    table = table.sort_values("trial", kind="stable").reset_index(drop=True)
    values = table[metric].to_numpy(dtype=float, na_value=math.nan)
    if not np.isfinite(values).any():
        raise UserError(
            f"none of the {len(table)} trials has a {metric}: nothing to plot. Their column "
            "'error' says why they failed"
        )
    badness = np.where(np.isfinite(values), values if mode == "min" else -values, np.inf)
    defaults = np.flatnonzero(table["trial"] == 0)
    default = int(defaults[0]) if len(defaults) else None
    limit = _limit(badness[np.isfinite(badness)]) * (1.0 if mode == "min" else -1.0)
    return _Search(table, values, metric, mode, int(badness.argmin()), default, limit)


def _limit(badness: np.ndarray) -> float:
    """The worst value to draw to scale, where low is good."""
    best, worst = badness.min(), badness.max()
    middle = float(np.median(badness)) - best
    return float(min(worst, best + _FAR * middle) if middle > 0 else worst)


def _figure(search: _Search, fields: Sequence[str]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, math.ceil(math.sqrt(len(fields) + 1)))
    rows = math.ceil((len(fields) + 1) / columns)
    size = (max(7.5, 3.5 * columns), 2.9 * rows + 1.3)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for ax, field in zip(panels, fields, strict=False):
        _field_panel(ax, search, field)
    _learning_panel(panels[len(fields)], search)
    for ax in panels[len(fields) + 1 :]:
        ax.remove()
    for ax in figure.axes:
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel(
                f"{search.metric} ({'lower' if search.mode == 'min' else 'higher'} is better)"
            )
    _set_limits(figure.axes[0], search)
    figure.suptitle(_finding(search), x=0.01, ha="left", fontsize=12, fontweight="bold")
    _legend(figure, search)
    return figure


def _finding(search: _Search) -> str:
    """The title: the best trial against the default."""
    metric, best = search.metric, search.values[search.best]
    number = search.table["trial"].iloc[search.best]
    num = len(search.table)
    if search.default is None:
        return f"Best {metric} {best:.4g} (trial {number} of {num})"
    if search.best == search.default:
        others = f"none of {num - 1} other trials did better" if num > 1 else "no other trial yet"
        return f"Best {metric} {best:.4g} by default: {others}"
    default = search.values[search.default]
    against = f"{default:.4g} by default" if np.isfinite(default) else "a default without a result"
    return f"Best {metric} {best:.4g} (trial {number}) against {against}"


def _field_panel(ax: Axes, search: _Search, field: str) -> None:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    column = search.table[f"config.{field}"]
    if column.dtype == object:
        column = column.infer_objects()
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        x = column.to_numpy(dtype=float, na_value=math.nan)
        _scale(ax, x[np.isfinite(x)])
    else:
        x = _strips(ax, search, [str(v) for v in column])
    missing = int((~np.isfinite(x)).sum())
    ax.set_xlabel(f"{field} ({missing} trials have none)" if missing else field)
    _points(ax, search, x)


def _scale(ax: Axes, x: np.ndarray) -> None:
    """A logarithmic axis for numbers, none negative, that span enough decades."""
    positive = x[x > 0]
    if not len(positive) or (x < 0).any():
        return
    if math.log10(positive.max() / positive.min()) > _LOG_DECADES:
        if len(positive) == len(x):
            ax.set_xscale("log")
        else:
            ax.set_xscale("symlog", linthresh=positive.min(), linscale=0.4)
            ax.set_xlim(left=-0.3 * positive.min())


def _strips(ax: Axes, search: _Search, words: list[str]) -> np.ndarray:
    """Positions of words: a strip each, best median first, the rest beyond ten in one strip."""
    medians = {w: _median(search, [v == w for v in words]) for w in dict.fromkeys(words)}
    order = sorted(medians, key=lambda w: (search.sign * medians[w], w))
    names = order
    if len(order) > _MAX_CATEGORIES:
        names = [*order[: _MAX_CATEGORIES - 1], f"{len(order) - _MAX_CATEGORIES + 1} others"]
    at = np.array([min(order.index(w), len(names) - 1) for w in words])
    for place in range(len(names)):
        median = _median(search, at == place)
        if np.isfinite(median):
            held = search.sign * min(search.sign * median, search.sign * search.limit)
            ax.plot([place - 0.35, place + 0.35], [held] * 2, color="0.15", linewidth=2, zorder=3)
    tilted = max(map(len, names)) * len(names) > 36
    ax.set_xticks(range(len(names)), [_short(n) for n in names])
    ax.tick_params(axis="x", rotation=40 if tilted else 0, labelsize=8 if tilted else 9)
    ax.set_xlim(-0.5, len(names) - 0.5)
    jitter = (np.arange(len(words)) * 0.618034) % 1 - 0.5  # the golden ratio: even and repeatable
    return at + 0.5 * jitter


def _median(search: _Search, mask: Any) -> float:
    """The median metric of some trials, diverged ones included; the worst infinity if none."""
    values = search.values[np.asarray(mask) & np.isfinite(search.values)]
    return float(np.median(values)) if len(values) else search.sign * math.inf


def _short(word: str) -> str:
    return word if len(word) <= 18 else word[:17] + "…"


def _points(ax: Axes, search: _Search, x: np.ndarray) -> None:
    """Every trial by its status; the default and the best once more, around and above."""
    y, status = search.shown, search.table["status"].to_numpy()
    for name, (marker, color, size) in _LOOKS.items():
        mine = (status == name) & np.isfinite(y)
        style: dict[str, Any] = {"color": color, "clip_on": False, "alpha": 0.8}
        inside, beyond = mine & ~search.beyond, mine & search.beyond
        ax.scatter(x[inside], y[inside], s=size, marker=marker, zorder=2, label=name, **style)
        arrow = "^" if search.mode == "min" else "v"
        ax.scatter(x[beyond], y[beyond], s=40, marker=arrow, zorder=2, **style)
    ring = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.5, "clip_on": False}
    for at, marker, size, color in (
        (search.default, "D", 90, "none"),
        (search.best, "*", 190, "#F0E442"),
    ):
        if at is not None:
            ring |= {"facecolor": color, "linewidth": 1.5 if color == "none" else 0.8}
            ax.scatter(x[at], y[at], s=size, marker=marker, zorder=4, **ring)


def _learning_panel(ax: Axes, search: _Search) -> None:
    """Each trial in the order they started, and the best so far as steps."""
    x = search.table["trial"].to_numpy(dtype=float)
    signed = np.where(np.isfinite(search.values), search.sign * search.values, np.inf)
    best = search.sign * np.minimum.accumulate(signed)
    _points(ax, search, x)
    known = np.isfinite(best)
    held = search.sign * np.minimum(search.sign * best[known], search.sign * search.limit)
    ax.step(x[known], held, where="post", color="#D55E00", linewidth=1.8, zorder=3)
    ax.set_xlabel("trial (line: the best so far)")


def _set_limits(ax: Axes, search: _Search) -> None:
    best = search.values[search.best]
    pad = 0.06 * abs(search.limit - best) or 0.01 * abs(best) or 0.01
    ends = (best - search.sign * pad, search.limit + search.sign * pad)
    ax.set_ylim(min(ends), max(ends))


def _legend(figure: Figure, search: _Search) -> None:
    """What the markers mean, with counts, and what is not drawn to scale."""
    from matplotlib.lines import Line2D

    def entry(marker: str, label: str, color: str, size: float, face: str | None = None) -> Line2D:
        style: dict[str, Any] = {"markerfacecolor": face or color, "markeredgecolor": color}
        return Line2D([], [], linestyle="", marker=marker, markersize=size, label=label, **style)

    status = search.table["status"]
    entries = [
        entry(marker, f"{name} ({(status == name).sum()})", color, 6)
        for name, (marker, color, _) in _LOOKS.items()
        if (status == name).any()
    ]
    if search.default is not None:
        entries.append(entry("D", "default", "black", 8, "none"))
    entries.append(entry("*", "best", "black", 12, "#F0E442"))
    if search.beyond.any():
        count, worst = int(search.beyond.sum()), search.values[search.beyond]
        extreme = worst.max() if search.mode == "min" else worst.min()
        text = f"{count} beyond the axis (as far as {extreme:.4g}), drawn on its edge"
        entries.append(entry("^" if search.mode == "min" else "v", text, "0.4", 7))
    without = int((~np.isfinite(search.values)).sum())
    title = f"{without} trials without a value are drawn on the worse edge" if without else None
    figure.legend(
        handles=entries, loc="outside lower left", ncols=6, frameon=False, fontsize=9, title=title
    )
