"""What a matrix factorisation learned about its items: the biases, and the factors' main axes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raysweep.analysis.vectors.labels import place_labels, shorten
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "Components",
    "component_ends",
    "principal_components",
    "rank_by_bias",
    "scatter",
]

_ORANGE, _GREY = "#D55E00", "#9A9A9A"


@dataclass(frozen=True)
class Components:
    """The most rated items along the principal axes of their factors.

    Attributes:
        items: int[n], indices of the items, the most rated first.
        projections: float[n, num_components], coordinates of those items, in the factors' units.
        explained: float[num_components], the share of those items' variance along each axis.
    """

    items: np.ndarray
    projections: np.ndarray
    explained: np.ndarray


def rank_by_bias(
    bias: np.ndarray,
    counts: np.ndarray,
    titles: Sequence[str] | np.ndarray,
    *,
    most_rated: int = 2000,
    top: int = 10,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The best and the worst liked items, other things (who rated them) being equal.

    Args:
        bias: float[num_items], in the rating's units (stars).
        counts: int[num_items], training ratings of each item.
        titles: num_items titles.
        most_rated: how many of the most rated items to rank; those never rated are left out.
        top: rows in each table.

    Returns:
        Best first and worst first: columns title, bias, num_ratings; the index is the item's.

    Raises:
        UserError: lengths differ, a bias is not finite, or nothing was rated.
    """
    import pandas as pd

    items = _most_rated(bias, counts, titles, most_rated)
    table = pd.DataFrame(
        {"title": [titles[i] for i in items], "bias": bias[items], "num_ratings": counts[items]},
        index=pd.Index(items, name="item"),
    )
    best = table.sort_values("bias", ascending=False, kind="stable")
    worst = table.sort_values("bias", kind="stable")
    return best.head(top), worst.head(top)


def principal_components(
    factors: np.ndarray, counts: np.ndarray, *, most_rated: int = 2000, num_components: int = 3
) -> Components:
    """Principal component analysis of the factors of the most rated items.

    The sign of a principal axis is arbitrary; here its largest loading is positive, so that the
    same factors give the same picture.

    Args:
        factors: float[num_items, d].
        counts: int[num_items], training ratings of each item.
        most_rated: how many of the most rated items to use; those never rated are left out.
        num_components: axes to keep.

    Raises:
        UserError: fewer factors or rated items than components, lengths that differ, or factors
            that are not finite.
    """
    from sklearn.decomposition import PCA

    items = _most_rated(factors, counts, None, most_rated)
    if min(factors.shape[1], len(items)) < num_components:
        raise UserError(
            f"{num_components} components need as many factors and rated items, but there are "
            f"{factors.shape[1]} factors and {len(items)} items; ask for fewer components or "
            "train with a larger num_factors"
        )
    pca = PCA(num_components, svd_solver="full")
    projections = pca.fit_transform(factors[items].astype(np.float64))
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.where(pca.components_[np.arange(num_components), largest] < 0, -1.0, 1.0)
    return Components(items, projections * signs, pca.explained_variance_ratio_)


def component_ends(
    components: Components, titles: Sequence[str] | np.ndarray, top: int = 10
) -> pd.DataFrame:
    """The items at both ends of each component.

    Returns:
        Columns component (from 1), end ("high" or "low"), title and projection, the most extreme
        item first; the index is the item's.
    """
    import pandas as pd

    rows = []
    for number, values in enumerate(components.projections.T, start=1):
        for end, order in (
            ("high", np.argsort(-values, kind="stable")),
            ("low", np.argsort(values, kind="stable")),
        ):
            for at in order[:top]:
                item = int(components.items[at])
                rows.append((item, number, end, titles[item], float(values[at])))
    columns = ["item", "component", "end", "title", "projection"]
    return pd.DataFrame(rows, columns=columns).set_index("item")


def scatter(
    path: Path,
    components: Components,
    titles: Sequence[str] | np.ndarray,
    *,
    axes: tuple[int, int] = (0, 2),
    num_titles: int = 50,
) -> None:
    """Draws two components against each other as a PNG, the most rated items with their titles.

    No two titles overlap: adjustText moves them apart, for a fixed number of steps rather than of
    seconds, so that the picture is the same on every machine; titles of less rated items that
    still overlap are left out.

    Args:
        path: the PNG file; an older one is replaced.
        components: from `principal_components`.
        titles: num_items titles; long ones are shortened.
        axes: the components across and up, counted from 0.
        num_titles: titles to show, if they fit.

    Raises:
        UserError: a component that was not computed.
    """
    num = components.projections.shape[1]
    if not all(0 <= axis < num for axis in axes):
        raise UserError(f"components {axes} of {num}: they count from 0 to {num - 1}")
    figure = _figure(components, titles, axes, num_titles)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    figure.clear()
    Storage(path.parent).write(path.name, buffer.getvalue())


def _most_rated(
    values: np.ndarray, counts: np.ndarray, titles: Sequence[str] | np.ndarray | None, limit: int
) -> np.ndarray:
    """Indices of the rated items, the most rated first, equals in their order; checks inputs."""
    lengths = {len(values), len(counts), len(counts) if titles is None else len(titles)}
    if len(lengths) > 1:
        raise UserError(
            f"model and data differ: {len(values)} items in the model, {len(counts)} in the data"
            + ("" if titles is None else f", {len(titles)} titles")
            + "; use the data that the model was trained on"
        )
    items = np.argsort(-counts, kind="stable")[: max(limit, 0)]
    items = items[counts[items] > 0]
    if not len(items):
        raise UserError("no item was rated; check the ratings that the counts come from")
    if not np.isfinite(values[items]).all():
        raise UserError("the model holds NaN or infinity: its training diverged; use another one")
    return items


def _figure(
    components: Components,
    titles: Sequence[str] | np.ndarray,
    axes: tuple[int, int],
    num_titles: int,
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    points = components.projections[:, list(axes)]
    named = points[:num_titles]
    rest = points[num_titles:]
    ax.scatter(rest[:, 0], rest[:, 1], s=5, color=_GREY, alpha=0.5, linewidths=0)
    ax.scatter(named[:, 0], named[:, 1], s=16, color=_ORANGE, linewidths=0, zorder=5)
    ax.margins(0.06)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    shares = [f"Component {a + 1} ({components.explained[a]:.1%} of the variance)" for a in axes]
    ax.set_ylabel(f"{shares[1]}, in the factors' units")
    label_x = f"{shares[0]}, in the factors' units\norange: the {len(named)} most rated items"
    ax.set_xlabel(label_x)
    if len(named):
        short = [shorten(titles[i]) for i in components.items[:num_titles]]
        runs = [
            f"{share} runs from {short[v.argmin()]} to {short[v.argmax()]}"
            for share, v in zip(shares, named.T, strict=True)
        ]
        ax.set_title("\n".join(runs), loc="left", fontsize=11, parse_math=False)
        if left_out := place_labels(ax, named, short):
            ax.set_xlabel(f"{label_x}; {left_out} of their titles did not fit")
    return figure
