"""Labels of points in a picture that can be read: near their points, none upon another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = ["label_beside", "place_labels", "shorten"]

_CHARS = 28
_WORK = 30_000_000  # steps · labels³: bounds the time that placing many labels takes
_GAP = 4.0  # pixels from a point to its label
_MAX_COVERED = 1  # points below a label, where there is no room without
_BLUE = "#0072B2"


def shorten(title: str) -> str:
    """A label of at most 28 characters, on one line; what is in brackets is not cut in two."""
    title = " ".join(str(title).split())
    if len(title) <= _CHARS:
        return title
    return re.sub(r"[\s,.]*(\([^)]*)?$", "", title[: _CHARS - 1]) + "…"


def place_labels(ax: Axes, points: np.ndarray, texts: Sequence[str], *, size: float = 8) -> int:
    """Writes tens of texts, moved apart, with lines to their points; returns how many did not fit.

    A text may end far from its point, so that most of them fit. Time grows with the cube of their
    number: for hundreds there is `label_beside`.
    """
    from adjustText import adjust_text

    _keep_layout(ax)
    labels = [
        ax.text(x, y, text, **_style(size)) for (x, y), text in zip(points, texts, strict=True)
    ]
    steps = max(1, min(300, _WORK // len(labels) ** 3))
    adjust_text(labels, ax=ax, iter_lim=steps, expand=(1.05, 1.25), force_text=(0.2, 0.4))
    kept = _without_overlaps(labels)
    for label, point in zip(kept, points, strict=True):
        if label is not None:
            _line(ax, label, point)
    return kept.count(None)


def label_beside(ax: Axes, points: np.ndarray, texts: Sequence[str], *, size: float = 7) -> int:
    """Writes hundreds of texts, each close beside its point; returns how many did not fit.

    Earlier texts choose first. Of eight positions around a point, a text takes the one that covers
    no other text and the fewest points.

    Args:
        ax: with all its points drawn.
        points: float [n, 2], in the data's units; those without texts come last.
        texts: of the first points, the most important one first.
        size: of the letters, in points.
    """
    _keep_layout(ax)
    dots = ax.transData.transform(points)
    frame = np.array(ax.get_window_extent().extents)
    taken = np.zeros((0, 4))
    for row, text in enumerate(texts):
        label = ax.annotate(
            text, points[row], (0, 0), textcoords="offset pixels", va="bottom", **_style(size)
        )
        box = label.get_window_extent()
        extent = np.array([box.width, box.height])
        offset = _free_offset(extent, dots[row], dots, taken, frame)
        if offset is None:
            label.remove()
            continue
        label.xyann = offset
        corner = dots[row] + offset
        taken = np.vstack([taken, np.concatenate([corner, corner + extent])])
    return len(texts) - len(taken)


def _free_offset(
    extent: np.ndarray,
    dot: np.ndarray,
    dots: np.ndarray,
    taken: np.ndarray,
    frame: np.ndarray,
) -> tuple[float, float] | None:
    """Where a label's lower left corner goes, in pixels from its dot; None if nowhere.

    Everything is in pixels: `extent` and `dot` [2], `dots` [n, 2], and as left, bottom, right, top
    the texts that are there, `taken` [m, 4], and what they must not leave, `frame` [4].
    """
    right, left, middle = _GAP, -extent[0] - _GAP, -extent[0] / 2
    above, below, beside = _GAP, -extent[1] - _GAP, -extent[1] / 2
    best, fewest = None, _MAX_COVERED + 1
    for offset in (
        *((right, beside), (left, beside), (middle, above), (middle, below)),
        *((right, above / 2), (right, below / 2), (left, above / 2), (left, below / 2)),
    ):
        low = dot + offset
        high = low + extent
        if (low < frame[:2]).any() or (high > frame[2:]).any():
            continue
        if ((taken[:, :2] < high) & (taken[:, 2:] > low)).all(axis=1).any():
            continue
        covered = int(((dots > low - 1) & (dots < high + 1)).all(axis=1).sum())
        if covered < fewest:
            best, fewest = offset, covered
    return best


def _keep_layout(ax: Axes) -> None:
    """Lays the figure out now: labels must not move it any more."""
    figure: Any = ax.figure
    figure.canvas.draw()
    figure.set_layout_engine("none")


def _style(size: float) -> dict[str, Any]:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=1.5, foreground="white")]
    return {"fontsize": size, "parse_math": False, "zorder": 4, "path_effects": halo}


def _without_overlaps(labels: Sequence[Text]) -> list[Text | None]:
    """Removes each label whose box overlaps that of an earlier one; None in its place."""
    kept: list[Text | None] = []
    boxes: list[Any] = []
    for label in labels:
        box = label.get_window_extent()
        overlaps = any(box.overlaps(other) for other in boxes)
        if overlaps:
            label.remove()
        else:
            boxes.append(box)
        kept.append(None if overlaps else label)
    return kept


def _line(ax: Axes, label: Text, point: np.ndarray) -> None:
    """A thin line from the point to the nearest spot on the label's box."""
    box = label.get_window_extent()
    x, y = ax.transData.transform(point)
    near = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
    end = ax.transData.inverted().transform(near)
    ax.plot(*np.stack([point, end]).T, color=_BLUE, linewidth=0.5, alpha=0.7, zorder=2)
