"""The picture of a search: panels, scales, off-scale trials and its title."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from raysweep.analysis import search_plots
from raysweep.analysis.search_plots import plot_search
from raysweep.core.errors import UserError


def trials(values: list[float], **fields: Any) -> pd.DataFrame:
    """A table of finished trials, those without a value failed."""
    table = pd.DataFrame({"trial": range(len(values)), "val_rmse": values})
    table["status"] = np.where(np.isfinite(values), "finished", "failed")
    table["epochs"] = table["best_epoch"] = 3
    for name, column in fields.items():
        table[f"config.{name}"] = column
    return table


def draw(table: pd.DataFrame, *fields: str, mode: str = "min") -> Figure:
    search = search_plots._search(table, fields, "val_rmse", mode)
    figure = search_plots._figure(search, fields)
    figure.canvas.draw()
    return figure


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def note(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def points(ax: Axes) -> np.ndarray:
    offsets = [c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)]
    return np.concatenate([np.asarray(o) for o in offsets if len(o)])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("min", "Best val_rmse 0.8 (trial 2) against 0.9"), ("max", "Best val_rmse 1 (trial 1)")],
)
def test_title_names_the_best_and_the_default(mode: str, expected: str) -> None:
    figure = draw(trials([0.9, 1.0, 0.8], rate=[0.1, 0.2, 0.3]), "rate", mode=mode)
    assert title(figure).startswith(expected)
    better = "lower" if mode == "min" else "higher"
    assert f"{better} is better" in figure.axes[0].get_ylabel()


def test_title_when_nothing_beats_the_default_or_it_failed() -> None:
    rates = [0.1, 0.2, 0.3]
    assert "none of 2 other trials" in title(draw(trials([0.7, 1.0, 0.8], rate=rates), "rate"))
    failed = draw(trials([np.nan, 1.0, 0.8], rate=rates), "rate")
    assert "a default without a result" in title(failed)
    later = trials([0.7, 1.0, 0.8], rate=rates).iloc[1:]
    assert title(draw(later, "rate")) == "Best val_rmse 0.8 (trial 2 of 2)"


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        ([1e-4, 1e-3, 1e-2], "log"),
        ([0.0, 1e-4, 1e-2], "symlog"),
        ([-1.0, 1e-4, 1e-2], "linear"),
        ([1, 2, 16], "linear"),
        ([1, 2, 32], "log"),
        ([0, 0, 0], "linear"),
    ],
)
def test_axis_is_logarithmic_over_enough_decades(column: list[float], scale: str) -> None:
    figure = draw(trials([1.0, 2.0, 3.0], rate=column), "rate")
    assert figure.axes[0].get_xscale() == scale
    low, high = sorted(figure.axes[0].get_xlim())
    assert low < min(column)
    assert high > max(column)


def test_a_diverged_trial_does_not_squash_the_rest() -> None:
    values = [0.90, 0.92, 0.95, 0.93, 35.2, np.nan, 0.91]
    figure = draw(trials(values, rate=np.linspace(0, 1, 7)), "rate")
    low, high = figure.axes[0].get_ylim()
    assert low < 0.90
    assert 0.95 < high < 1.0
    assert "1 with a far worse value (as far as 35.2" in note(figure)
    assert "1 without a value" in note(figure)
    y = points(figure.axes[0])[:, 1]
    assert len(y) == 7 + 2  # every trial, the best and the default again
    assert (y > low).all()
    assert (y < high).all()
    assert (y > 0.95).sum() == 2


def test_diverged_trials_of_a_maximised_metric_lie_below() -> None:
    figure = draw(trials([0.9, 0.8, 0.85, -40.0], rate=[1, 2, 3, 4]), "rate", mode="max")
    low, high = figure.axes[0].get_ylim()
    assert 0.7 < low < 0.8
    assert high > 0.9
    assert "as far as -40" in note(figure)


def test_all_is_to_scale_when_nothing_is_far() -> None:
    figure = draw(trials([0.9, 0.8, 0.85, 1.0], rate=[1, 2, 3, 4]), "rate")
    assert note(figure) in ("", "None")


def test_statuses_differ_in_marker_and_colour() -> None:
    table = trials([0.9, 0.8, 0.85, np.nan, 0.7], rate=[1, 2, 3, 4, 5])
    table["status"] = ["finished", "stopped", "running", "failed", "finished"]
    figure = draw(table, "rate")
    handles = figure.legends[0].get_lines()
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels[:4] == ["finished (2)", "stopped (1)", "running (1)", "failed (1)"]
    assert len({h.get_marker() for h in handles[:4]}) == 4
    assert len({h.get_markeredgecolor() for h in handles[:4]}) == 4


def test_words_and_truth_values_get_strips_best_first() -> None:
    table = trials(
        [0.9, 0.8, 0.85, 0.95],
        rates=["0.3,0.5", "0.0,0.0", "0.0,0.0", "0.3,0.5"],
        biases=[False, True, True, False],
        mixed=[None, True, True, None],
    )
    figure = draw(table, "rates", "biases", "mixed")
    ticks = [[t.get_text() for t in ax.get_xticklabels()] for ax in figure.axes[:3]]
    assert ticks == [["0.0,0.0", "0.3,0.5"], ["True", "False"], ["True", "None"]]
    assert [line.get_ydata()[0] for line in figure.axes[0].lines[:2]] == [0.825, 0.925]
    x = points(figure.axes[0])[:4, 0]
    np.testing.assert_array_equal(np.round(x), [1, 0, 0, 1])


def test_many_words_share_the_last_strip() -> None:
    table = trials(list(np.linspace(1, 2, 30)), word=[f"w{i}" for i in range(30)])
    labels = [t.get_text() for t in draw(table, "word").axes[0].get_xticklabels()]
    assert len(labels) == 10
    assert labels[0] == "w0"
    assert labels[-1] == "21 others"


def test_optional_numbers_say_how_many_have_none() -> None:
    column = pd.Series([0.1, None, 0.3, None], dtype=object)
    figure = draw(trials([1.0, 2.0, 3.0, 4.0], rate=column), "rate")
    assert figure.axes[0].get_xlabel() == "rate (2 trials have none)"


def test_learning_panel_is_the_best_so_far_in_order_of_trials() -> None:
    table = trials([np.nan, 1.0, 1.2, 0.9, 1.1], rate=[1, 2, 3, 4, 5]).sample(
        frac=1, random_state=3
    )
    ax = draw(table, "rate").axes[1]
    line = max(ax.lines, key=lambda each: len(each.get_xdata()))
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 1.0, 0.9, 0.9])


# Slower than a second: thirteen panels are drawn.
def test_one_trial_and_twelve_fields(tmp_path: Path) -> None:
    fields = {f"field_{i}": [i / 7] for i in range(12)}
    path = tmp_path / "report" / "search.png"
    plot_search(trials([0.9], **fields), list(fields), "val_rmse", "min", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in path.parent.iterdir()] == ["search.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": ["rat"]}, "no field 'rat'; did you mean 'rate'"),
        ({"fields": []}, "no field to plot"),
        ({"metric": "val_rms"}, "no metric"),
        ({"mode": "low"}, "mode='low'"),
        ({"table": trials([np.nan, np.inf], rate=[1, 2])}, "none of the 2 trials"),
    ],
)
def test_refuses_what_cannot_be_drawn(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    table = trials([1.0, 2.0], rate=[1, 2])
    given = {"table": table, "fields": ["rate"], "metric": "val_rmse", "mode": "min", **change}
    with pytest.raises(UserError, match=message):
        plot_search(**given, path=tmp_path / "search.png")
    assert not any(tmp_path.iterdir())
