"""The report's pictures of trials: importances, ranking, curves, budget, parallel coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.effects.effect import Effect, Interaction
from raysweep.analysis.effects.plots import draw_effect_panel
from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.report.page import Picture, picture
from raysweep.analysis.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    new_figure,
    number,
    plain,
    rows,
)

if TYPE_CHECKING:
    from raysweep.analysis.effects.columns import Column
    from raysweep.analysis.report.certainty import Certainty
    from raysweep.analysis.report.importance import Importance
    from raysweep.analysis.report.trials import Trials

__all__ = [
    "budget_picture",
    "certainty_picture",
    "curves_picture",
    "effect_picture",
    "importance_picture",
    "interaction_picture",
    "parallel_picture",
]

_MAX_ROWS = 12
_MAX_AXES = 7
_FAR = 6.0  # times the median distance from the best: what lies beyond is cut off


def importance_picture(importance: Importance, title: str) -> Picture:
    """Both evaluators' shares side by side, with what chance gives."""
    shown = importance.fields[:_MAX_ROWS]
    figure, axes = new_figure(title, 1.5 + 0.34 * len(shown), 2, sharey=True)
    inks = {"fANOVA": BLUE, "PED-ANOVA": ORANGE}
    for ax, (name, shares) in zip(axes, importance.shares.items(), strict=True):
        ax.barh(range(len(shown)), 100 * shares[: len(shown)], height=0.6, color=inks[name])
        ax.axvline(100 * importance.chance[name], color="0.2", linestyle="--", linewidth=1)
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_xlabel("share (%); dashed: by chance", fontsize=8.5)
        plain(ax, "x")
        rows(ax, shown, 18)
    return picture(figure, "importance", f"Bars: importance of {len(shown)} fields. {title}")


def certainty_picture(trials: Trials, certainty: Certainty, title: str) -> Picture:
    """The best estimates with their intervals, the best measured trial marked."""
    unit = Unit(trials.metric)
    ranks = list(range(min(_MAX_ROWS, len(certainty.rows))))
    if certainty.best not in ranks:
        ranks.append(certainty.best)
    figure, ax = new_figure(title, 1.2 + 0.27 * len(ranks))
    for y, rank in enumerate(ranks):
        row = certainty.rows[rank]
        ink = ORANGE if rank == certainty.best else BLUE
        ax.errorbar(
            unit.factor * certainty.gain[rank],
            y,
            xerr=unit.factor * certainty.half_width[rank],
            fmt="o",
            color=ink,
            capsize=3,
            markersize=5,
        )
        if trials.default is not None:
            measured = trials.sign * (trials.values[row] - trials.values[trials.default])
            ax.plot(unit.factor * measured, y, "x", color="0.25", markersize=6)
    ax.axvline(0.0, color="0.3", linewidth=0.9)
    names = [f"trial {trials.number(int(certainty.rows[r]))}" for r in ranks]
    names = [f"{n}{' (best)' if r == certainty.best else ''}" for n, r in zip(names, ranks)]  # noqa: B905
    rows(ax, names)
    plain(ax, "x")
    ax.set_xlabel(f"better than the default by ({unit.name}); ×: as measured", fontsize=8.5)
    return picture(figure, "ranking", f"Dots with 95% intervals of the best trials. {title}")


def effect_picture(effect: Effect, trials: Trials, title: str, index: int) -> Picture:
    """One field's curve with its band."""
    unit = Unit(trials.metric)
    figure, ax = new_figure(title, 3.0)
    draw_effect_panel(ax, effect, unit)
    ax.set_title("", loc="left")
    ax.set_ylabel(f"better by ({unit.name})", fontsize=8.5)
    ax.set_xlabel(effect.field, fontsize=8.5, parse_math=False)
    plain(ax)
    return picture(figure, f"effect-{index}-{slug(effect.field)}", title)


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())


def interaction_picture(pair: Interaction, trials: Trials, title: str, index: int) -> Picture:
    """A table of cells: better or worse than the sum of both effects; certain ones framed."""
    unit = Unit(trials.metric)
    cells = unit.factor * pair.gain
    rows_, columns = cells.shape
    figure, ax = new_figure(title, 1.4 + 0.42 * rows_)
    limit = float(np.abs(cells).max()) or 1.0
    # Blue to orange: apart for every eye, and the numbers stand in the cells.
    from matplotlib.colors import LinearSegmentedColormap

    inks = LinearSegmentedColormap.from_list("", [ORANGE, "#ffffff", BLUE])
    ax.imshow(cells, cmap=inks, vmin=-1.3 * limit, vmax=1.3 * limit, aspect="auto")
    for i in range(rows_):
        for j in range(columns):
            sure = abs(pair.gain[i, j]) > pair.half_width[i, j]
            text = unit.text(pair.gain[i, j], sign=True)
            ax.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold" if sure else None,
            )
    ax.grid(visible=False)
    ax.set_xticks(range(columns), [number(v) for v in pair.grids[1]])
    ax.set_yticks(range(rows_), [number(v) for v in pair.grids[0]])
    ax.set_xlabel(f"{pair.fields[1]}; cells: {unit.name}, bold: certain", fontsize=8.5)
    ax.set_ylabel(pair.fields[0], fontsize=8.5)
    return picture(figure, f"interaction-{index}", f"A table of cells. {title}")


def curves_picture(trials: Trials, title: str) -> Picture:
    """Every trial's curve over epochs; stopped ones end where they were stopped."""
    figure, ax = new_figure(title, 3.3)
    status = trials.table["status"].to_numpy()
    inks = {"finished": BLUE, "stopped": ORANGE, "running": GREY, "failed": "#000000"}
    ends = {"finished": "o", "stopped": "s", "running": "D", "failed": "x"}
    for row, curve in enumerate(trials.curves):
        if not curve or row in (trials.best, trials.default):
            continue
        epochs, kind = np.arange(1, len(curve) + 1), status[row]
        ax.plot(epochs, curve, color=inks[kind], linewidth=0.8, alpha=0.45)
        ax.plot(epochs[-1], curve[-1], ends[kind], color=inks[kind], markersize=3.5, alpha=0.8)
    for at, label, style in ((trials.default, "default", "--"), (trials.best, "best", "-")):
        if at is not None and trials.curves[at]:
            curve = trials.curves[at]
            ax.plot(range(1, len(curve) + 1), curve, style, color="black", linewidth=2, label=label)
    for kind in inks:
        if (count := int((status == kind).sum())) and kind != "failed":
            ax.plot([], [], ends[kind] + "-", color=inks[kind], label=f"{kind} ({count})")
    _limit(ax, trials)
    _whole_numbers(ax)
    ax.set_xlabel("epoch", fontsize=8.5)
    better = "higher" if trials.mode == "max" else "lower"
    ax.set_ylabel(f"{trials.metric} ({better} is better)", fontsize=8.5)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return picture(figure, "curves", f"Learning curves of {len(trials)} trials. {title}")


def _limit(ax: Any, trials: Trials) -> None:
    """What is far worse than most is cut off, so that the rest can be seen."""
    values = trials.sign * np.concatenate([np.array(c, float) for c in trials.curves if c])
    values = values[np.isfinite(values)]
    best, middle = values.max(), np.median(values)
    worst = max(values.min(), best - _FAR * (best - middle))
    margin = 0.05 * (best - worst) or 0.01
    ends = trials.sign * np.array([worst - margin, best + margin])
    ax.set_ylim(ends.min(), ends.max())


def _whole_numbers(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def budget_picture(trials: Trials, title: str) -> Picture:
    """The best so far over the hours that trials took."""
    hours = np.cumsum(trials.hours)
    judged = np.where(np.isfinite(trials.values), trials.sign * trials.values, -np.inf)
    best = trials.sign * np.maximum.accumulate(judged)
    known = np.isfinite(best)
    minutes = hours[-1] < 2.0
    figure, ax = new_figure(title, 2.7)
    ax.step((60.0 if minutes else 1.0) * hours[known], best[known], where="post", color=GREEN, lw=2)
    if trials.default is not None:
        ax.axhline(trials.values[trials.default], color="0.2", linestyle="--", linewidth=1)
        ax.annotate(
            "default",
            (0.99, trials.values[trials.default]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
        )
    ax.set_xlabel(f"trial-{'minutes' if minutes else 'hours'} spent", fontsize=8.5)
    ax.set_ylabel(f"best {trials.metric} so far", fontsize=8.5)
    return picture(figure, "budget", f"The best so far over the time spent. {title}")


def parallel_picture(trials: Trials, fields: list[str], title: str) -> Picture:
    """A line a trial through its fields' values to its result; the best tenth in colour."""
    by_name = {column.name: column for column in trials.columns}
    shown = [by_name[field] for field in fields if field in by_name][: _MAX_AXES - 1]
    judged = np.flatnonzero(np.isfinite(trials.values))
    goodness = trials.sign * trials.values[judged]
    best, middle = goodness.max(), np.median(goodness)
    goodness = goodness.clip(best - _FAR * (best - middle))
    span = np.ptp(goodness) or 1.0
    lines = np.column_stack(
        [*(_heights(c)[judged] for c in shown), (goodness - goodness.min()) / span]
    )
    order = np.argsort(goodness, kind="stable")
    top = set(order[-max(1, len(order) // 10) :].tolist())
    figure, ax = new_figure(title, 3.5)
    x = np.arange(lines.shape[1])
    for k in order:
        style: dict[str, Any] = {"color": "0.75", "linewidth": 0.6, "zorder": 1}
        if k in top:
            style = {"color": BLUE, "linewidth": 1.3, "alpha": 0.8, "zorder": 2}
        if judged[k] == trials.default:
            style = {"color": "black", "linewidth": 1.8, "linestyle": "--", "zorder": 3}
        ax.plot(x, lines[k], **style)
    _ends(ax, shown, trials, goodness)
    for key, ink, line in (
        ("best tenth", BLUE, "-"),
        ("others", "0.75", "-"),
        ("default", "black", "--"),
    ):
        ax.plot([], [], line, color=ink, label=key)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return picture(figure, "parallel", f"Parallel coordinates. {title}")


def _heights(column: Column) -> np.ndarray:
    """A column on a scale from 0 to 1; what is unset lies below."""
    unit = column.scaled(column.values)
    if not column.numeric:
        unit = unit / max(1, len(column.choices) - 1)
    return np.where(np.isnan(unit), -0.12, unit)


def _ends(ax: Any, shown: list[Column], trials: Trials, goodness: np.ndarray) -> None:
    """Names of the axes, and the values at both ends of each."""
    import textwrap

    names = [*(column.name for column in shown), trials.metric]
    width = max(9, 62 // len(names))
    labels = [textwrap.fill(name.replace("_", " "), width) for name in names]
    ax.set_xticks(range(len(names)), labels, fontsize=8 if len(names) < 6 else 7)
    lows_highs = [
        (number(c.numbers[0]), number(c.numbers[-1]))
        if c.numeric
        else (str(c.choices[0]), str(c.choices[-1]))
        for c in shown
    ]
    ends = trials.sign * np.array([goodness.min(), goodness.max()])
    lows_highs.append((f"{ends[0]:.4g}", f"{ends[1]:.4g}"))
    for at, (low, high) in enumerate(lows_highs):
        ax.axvline(at, color="0.5", linewidth=0.8, zorder=0)
        ax.text(at, -0.03, low, ha="center", va="top", fontsize=7.5)
        ax.text(at, 1.03, high, ha="center", va="bottom", fontsize=7.5)
    ax.set_ylim(-0.18, 1.12)
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.grid(visible=False)
    ax.tick_params(axis="x", length=0)
