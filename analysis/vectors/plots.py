"""Words on a plane: t-SNE or principal components of their vectors, with readable labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raysweep.analysis.vectors.labels import label_beside, shorten
from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage

__all__ = ["METHODS", "draw", "project"]

METHODS = {"tsne": "t-SNE", "pca": "principal components"}
_PERPLEXITY = 30.0
_GREY, _ORANGE = "#9A9A9A", "#D55E00"


def project(vectors: np.ndarray, method: str = "tsne") -> np.ndarray:
    """Places vectors on a plane; the same vectors always give the same picture.

    Args:
        vectors: float [n, dim], n at least 3.
        method: `tsne` keeps near what is near and says nothing of large distances; `pca` takes the
            two directions in which the vectors differ most.

    Returns:
        float64 [n, 2].

    Raises:
        UserError: an unknown method, fewer than 3 vectors, or numbers that are not finite.
    """
    if method not in METHODS:
        raise UserError(f"method: no method '{method}'{nearest(method, METHODS)}")
    if len(vectors) < 3 or vectors.shape[1] < 2:
        raise UserError(
            f"{len(vectors)} vectors of {vectors.shape[1]} numbers are too few to draw; give at "
            "least 3 words and 2 numbers"
        )
    values = np.asarray(vectors, np.float64)
    if not np.isfinite(values).all():
        raise UserError("the vectors hold NaN or infinity: the training diverged; use another run")
    if method == "pca":
        from sklearn.decomposition import PCA

        pca = PCA(2, svd_solver="full")
        positions = pca.fit_transform(values)  # [n, 2]
        largest = np.abs(pca.components_).argmax(axis=1)
        return np.asarray(positions * np.sign(pca.components_[np.arange(2), largest]))
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0)
    return np.asarray(tsne.fit_transform(values), np.float64)


def draw(
    path: Path,
    positions: np.ndarray,
    words: Sequence[str],
    *,
    method: str,
    num_labels: int = 350,
    things: str = "words",
) -> int:
    """Draws words as a PNG; no two labels overlap, those that do not fit are left out.

    Args:
        path: the PNG file; an older one is replaced.
        positions: float [n, 2], from `project`.
        words: n words or titles, the most important ones first; long ones are shortened.
        method: by which the positions were computed.
        num_labels: how many of the first words to name, if they fit.
        things: what they are, in the plural.

    Returns:
        How many words are named.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 12), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    named = positions[:num_labels]
    for part, color in ((positions[len(named) :], _GREY), (named, _ORANGE)):
        ax.scatter(part[:, 0], part[:, 1], s=9, color=color, linewidths=0)
    ax.margins(0.04)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(f"{METHODS[method]} of {len(words)} {things}", loc="left", fontsize=12)
    caption = ax.set_xlabel(f"orange: the first {len(named)} {things}", loc="left")
    texts = [shorten(word) for word in words[: len(named)]]
    if left_out := label_beside(ax, positions, texts):
        caption.set_text(f"{caption.get_text()}; {left_out} of their names did not fit")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    figure.clear()
    Storage(path.parent).write(path.name, buffer.getvalue())
    return len(named) - left_out
