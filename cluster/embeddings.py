"""What a run's best model learned as vectors: for TensorBoard's projector, and for questions."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from data.errors import UserError, nearest

if TYPE_CHECKING:
    from cluster.runs import SavedRun
    from trainables.embedding import Embedding

__all__ = ["best_embedding", "publish_embeddings", "write_projector_files"]

# The projector computes t-SNE on 10,000 points at most, and more of them make it slow to turn.
MOST_POINTS = 10_000


def best_embedding(run: SavedRun, name: str | None = None) -> tuple[str, Embedding]:
    """An embedding of a run's best model, with its name; the family's main one by default.

    Raises:
        UserError: the model has none, or none of that name.
    """
    found = run.best_model().embeddings(run.dataset.info)
    if not found:
        raise UserError(
            f"{run.storage.uri} is a run of {run.request.learner.name}, which learns no vectors of "
            "words or items; name a run of e.g. word_vectors or matrix_factorization"
        )
    name = name or next(iter(found))
    if name not in found:
        raise UserError(
            f"--embedding {name}: {run.request.learner.name} has {', '.join(found)}"
            f"{nearest(name, found)}"
        )
    return name, found[name]


def write_projector_files(run: SavedRun) -> None:
    """Writes the best model's embeddings into `best/`, for TensorBoard's projector.

    Those of an earlier best model are replaced. Of many points the most important 10,000 are
    written.

    Raises:
        UserError: the run has no model, or a vector is not finite.
    """
    from analysis.projector import write_projector

    found = run.best_model().embeddings(run.dataset.info)
    if not found:
        return
    with (run.storage / "best").as_folder() as folder:
        for name, embedding in found.items():
            shown = embedding.first(MOST_POINTS)
            write_projector(folder, name, shown.vectors, shown.columns)


def publish_embeddings(run: SavedRun) -> None:
    """Writes the projector's files at the end of a search, which must not fail for want of them."""
    from analysis.projector import remove_projector

    if not run.ledger.ranked():
        return
    try:
        write_projector_files(run)
    except Exception as error:
        # Vectors of an earlier best model would pass for this one's.
        if run.storage.local is not None:
            with contextlib.suppress(OSError):
                remove_projector(run.storage.local / "best")
        reason = str(error) or type(error).__name__
        print(f"TensorBoard's projector will show no vectors: {reason}", file=sys.stderr)
