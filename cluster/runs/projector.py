"""What a run's best model learned as vectors: for TensorBoard's projector, and for questions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raysweep.core.errors import UserError, nearest

if TYPE_CHECKING:
    import numpy as np

    from raysweep.cluster.runs.saved_run import SavedRun
    from raysweep.trainables.embedding import Embedding

__all__ = ["best_embedding", "publish_embeddings", "write_projector_files"]

# The projector computes t-SNE on 10,000 points at most, and more of them make it slow to turn.
MOST_POINTS = 10_000
MOST_PICTURES, _SIDE = 1_000, 48
# Where the first pictures have all gone, so have the others; a store would be asked a long time.
_GIVE_UP = 3


def best_embedding(run: SavedRun, name: str | None = None) -> tuple[str, Embedding]:
    """An embedding of a run's best model, with its name; the family's main one by default.

    Raises:
        UserError: the model has none, or none of that name.
    """
    embeddings = run.best_model().embeddings(run.dataset.info)
    if not embeddings:
        raise UserError(
            f"{run.storage.uri} is a run of {run.request.learner.name}, which learns no vectors of "
            "words or items; name a run of e.g. word_vectors or matrix_factorization"
        )
    name = name or next(iter(embeddings))
    if name not in embeddings:
        raise UserError(
            f"--embedding {name}: {run.request.learner.name} has {', '.join(embeddings)}"
            f"{nearest(name, embeddings)}"
        )
    return name, embeddings[name]


def write_projector_files(run: SavedRun) -> None:
    """Writes the best model's embeddings into `best/`, for TensorBoard's projector.

    Those of an earlier best model are replaced. Of many points the most important 10,000 are
    written; of things with pictures 1,000, with a thumbnail each if the pictures are at hand.

    Raises:
        UserError: the run has no model, or a vector is not finite.
    """
    from raysweep.analysis.tensorboard.projector import write_projector

    embeddings = run.best_model().embeddings(run.dataset.info)
    if not embeddings:
        return
    with (run.storage / "best").as_folder() as folder:
        for name, embedding in embeddings.items():
            shown = embedding.first(MOST_PICTURES if embedding.pictures else MOST_POINTS)
            pictures = _thumbnails(shown.pictures)
            write_projector(folder, name, shown.vectors, shown.columns, pictures)


def _thumbnails(paths: Sequence[str]) -> np.ndarray | None:
    """The pictures, small, uint8 [n, side, side, 3]; None where there are none any more.

    One that cannot be read is left grey.
    """
    import numpy as np

    from raysweep.core.storage import Storage
    from raysweep.data.images.decode import BadImage, Resize, decode

    resize, folders = Resize(size=_SIDE, mode="squash", interpolation="box"), dict[str, Storage]()
    shown = np.full((len(paths), _SIDE, _SIDE, 3), 127, np.uint8)
    num_read = 0
    for number, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = Storage(folder)
        try:
            shown[number], _, _ = decode(folders[folder].read(name), resize)
        except (OSError, BadImage):
            if not num_read and number >= _GIVE_UP:
                return None
            continue
        num_read += 1
    return shown if num_read else None


def publish_embeddings(run: SavedRun) -> None:
    """Writes the projector's files at the end of a search, which must not fail for want of them."""
    from raysweep.analysis.tensorboard.projector import remove_projector
    from raysweep.trainables.user.tune_task import TuneTask

    if not run.ledger.ranked() or issubclass(run.request.learner, TuneTask):
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
