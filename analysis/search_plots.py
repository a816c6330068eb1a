"""The picture of a search, `search.png`: every trial by each searched field, and the best so far.

`raysweep tune` writes it into the run's `pictures/`; TensorBoard shows it too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.effects.plots import log_axis
from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage

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
_BEST = "#F0E442"
_LOG_DECADES = 1.25
_MAX_CATEGORIES = 10
_FAR = 6.0  # times the median distance from the best: what lies beyond is not drawn to scale


@dataclass(frozen=True)
class _Search:
    """A search, checked: a row a trial in the order they started.

    Attributes:
        table: the rows.
        values: float[num_trials], the metric, NaN for trials without one.
        metric: the column's name.
        sign: 1 where low is good, -1 where high is.
        best: row of the best trial.
        default: row of the default configuration, if there is one.
        limit: the worst value drawn to scale.
        unit: a tenth of the range that is drawn to scale, in the metric's unit.
    """

    table: pd.DataFrame
    values: np.ndarray
    metric: str
    sign: float
    best: int
    default: int | None
    limit: float
    unit: float

    @property
    def beyond(self) -> np.ndarray:
        """Which trials have a value that is not drawn to scale."""
        return np.isfinite(self.values) & (self.sign * (self.values - self.limit) > 0)

    def heights(self, values: np.ndarray) -> np.ndarray:
        """Where to draw values; those beyond the limit, and NaN, all at one height off the scale.

        Args:
            values: of the metric, float64 [k].

        Returns:
            Float64 [k], in the metric's unit.
        """
        off_scale = ~(self.sign * (values - self.limit) <= 0)
        return np.where(off_scale, self.limit + self.sign * self.unit, values)


def plot_search(
    table: pd.DataFrame, fields: Sequence[str], metric: str, mode: str, path: Path
) -> None:
    """Draws a panel for each searched field, and one for the best so far, as one PNG.

    Numbers get a logarithmic axis when they span more than 1.25 decades (one that also shows 0 if
    some are 0); truth values and words get a jittered strip each, with its median, the best first.
    Trials more than 6 times as far from the best as the median trial is, and trials without a
    value, are drawn beyond a dashed line, not to scale, and the figure says how many they are.

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
    names = {str(c).removeprefix("config.") for c in table.columns if str(c).startswith("config.")}
    for field in fields:
        if field not in names:
            raise UserError(f"the trials have no field '{field}'{nearest(field, names)}")
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
    sign = 1.0 if mode == "min" else -1.0
    badness = np.where(np.isfinite(values), sign * values, np.inf)
    params = [c for c in table.columns if str(c).startswith("param.")]
    chosen = table[params].notna().any(axis=1)  # a default was not chosen by the searcher
    defaults = np.flatnonzero((table["trial"] == 0) & ~chosen)
    default = int(defaults[0]) if len(defaults) else None
    limit = _limit(badness[np.isfinite(badness)])
    unit = 0.1 * (limit - badness.min()) or 0.01 * abs(limit) or 0.01
    return _Search(table, values, metric, sign, int(badness.argmin()), default, sign * limit, unit)


def _limit(badness: np.ndarray) -> float:
    """The worst value to draw to scale, where low is good."""
    best = badness.min()
    far = _FAR * (np.median(badness) - best)
    return float(badness[badness <= best + far].max() if far > 0 else badness.max())


def _figure(search: _Search, fields: Sequence[str]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num = len(fields) + 1
    columns = (1, 2, 3, 2)[num - 1] if num <= 4 else min((3, 4), key=lambda c: (-num % c, c))
    rows = math.ceil(num / columns)
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
        _style(ax, search)
    figure.suptitle(_title(search), x=0.01, ha="left", fontsize=12, fontweight="bold")
    _legend(figure, search)
    return figure


def _style(ax: Axes, search: _Search) -> None:
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    cell = ax.get_subplotspec()
    if cell is not None and cell.is_first_col():
        better = "lower" if search.sign > 0 else "higher"
        ax.set_ylabel(f"{search.metric} ({better} is better)")
    margin = 0.5
    if search.beyond.any() or not np.isfinite(search.values).all():
        margin = 1.6
        ax.axhline(search.limit + search.sign * 0.5 * search.unit, color="0.6", ls="--", lw=0.8)
    ends = (
        search.values[search.best] - search.sign * 0.6 * search.unit,
        search.limit + search.sign * margin * search.unit,
    )
    ax.set_ylim(min(ends), max(ends))


def _title(search: _Search) -> str:
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
        field = f"{field} (bars: medians)"
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
            log_axis(ax, positive.max() / positive.min())
        else:
            ax.set_xscale("symlog", linthresh=positive.min(), linscale=1.0)
            ax.set_xlim(-0.1 * positive.min(), 1.6 * positive.max())


def _strips(ax: Axes, search: _Search, words: list[str]) -> np.ndarray:
    """Positions of words: a strip each, best median first, the rest beyond ten in one strip."""
    medians = {w: _median(search, [v == w for v in words]) for w in dict.fromkeys(words)}
    order = sorted(medians, key=lambda w: (search.sign * medians[w], w))
    names = order
    if len(order) > _MAX_CATEGORIES:
        names = [*order[: _MAX_CATEGORIES - 1], f"{len(order) - _MAX_CATEGORIES + 1} others"]
    at = np.array([min(order.index(w), len(names) - 1) for w in words])
    for strip in range(len(names)):
        median = _median(search, at == strip)
        if np.isfinite(median):
            y = search.heights(np.array([median, median]))
            ax.plot([strip - 0.35, strip + 0.35], y, color="0.15", linewidth=2, zorder=3)
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
    y, status = search.heights(search.values), search.table["status"].to_numpy()
    arrow = "^" if search.sign > 0 else "v"
    for name, (marker, color, size) in _LOOKS.items():
        same = status == name
        inside, beyond = same & ~search.beyond, same & search.beyond
        ax.scatter(x[inside], y[inside], s=size, marker=marker, color=color, alpha=0.8, zorder=2)
        ax.scatter(x[beyond], y[beyond], s=40, marker=arrow, color=color, alpha=0.8, zorder=2)
    rings = [(search.best, "*", 190, 0.8, _BEST), (search.default, "D", 90, 1.5, "none")]
    for at, marker, size, width, face in rings:
        if at is not None:
            ring: dict[str, Any] = {"facecolors": face, "edgecolors": "black", "linewidths": width}
            ax.scatter(x[[at]], y[[at]], s=size, marker=marker, zorder=4, **ring)


def _learning_panel(ax: Axes, search: _Search) -> None:
    """Each trial in the order they started, and the best so far as steps."""
    from matplotlib.ticker import MaxNLocator

    x = search.table["trial"].to_numpy(dtype=float)
    badness = np.where(np.isfinite(search.values), search.sign * search.values, np.inf)
    best = search.sign * np.minimum.accumulate(badness)
    _points(ax, search, x)
    known = np.isfinite(best)
    y = search.heights(best[known])
    ax.step(x[known], y, where="post", color="#D55E00", linewidth=1.8, zorder=3)
    margin = 0.5 + 0.02 * (x.max() - x.min())
    ax.set_xlim(x.min() - margin, x.max() + margin)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    ax.set_xlabel("trial (line: the best so far)")


def _legend(figure: Figure, search: _Search) -> None:
    """What the markers mean, with counts."""
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
    entries.append(entry("*", "best", "black", 12, _BEST))
    figure.legend(
        handles=entries,
        loc="outside lower left",
        ncols=6,
        columnspacing=1.2,
        frameon=False,
        fontsize=9,
        title=_off_scale(search),
        title_fontsize=9,
        alignment="left",
    )


def _off_scale(search: _Search) -> str | None:
    """Says what lies beyond the dashed line, if anything does."""
    parts = []
    if num := int(search.beyond.sum()):
        extreme = search.sign * (search.sign * search.values[search.beyond]).max()
        parts.append(f"{num} with a far worse value (as far as {extreme:.4g}, triangles)")
    if num := int((~np.isfinite(search.values)).sum()):
        parts.append(f"{num} without a value")
    return f"Trials beyond the dashed line, not to scale: {' and '.join(parts)}" if parts else None
