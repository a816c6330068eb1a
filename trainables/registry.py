"""The index of model families: a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.targets import is_target, load_target

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = ["LEARNERS", "get_learner"]

# By name, where the class is: PyTorch is imported when one is asked for, not to print help.
LEARNERS: dict[str, str] = {
    "char_rnn": "raysweep.trainables.sequences.char_rnn:CharRNN",
    "image_head": "raysweep.trainables.images.image_head:ImageHead",
    "matrix_factorization": "raysweep.trainables.ratings.matrix_factorization:MatrixFactorization",
    "ratings_net": "raysweep.trainables.ratings.ratings_net:RatingsNet",
    "sentiment": "raysweep.trainables.texts.sentiment:Sentiment",
    "word_vectors": "raysweep.trainables.sequences.word_vectors:WordVectorsLearner",
}


def get_learner(name: str) -> type[Learner[Any]]:
    """The learner of that name, or the one that a target of the user's names.

    Args:
        name: a built-in one, or `file.py:name` or `package.module:name`; what Ray Tune can run is
            given as a `TuneTask`.

    Raises:
        UserError: no family has that name; the message suggests the nearest one. Or the target
            cannot be loaded, or is nothing that can be trained.
    """
    if is_target(name):
        return _own_learner(name)
    if name not in LEARNERS:
        raise UserError(
            f"no trainable is called '{name}'{nearest(name, LEARNERS)} One of yours is "
            "file.py:NAME or package.module:NAME"
        )
    learner: type[Learner[Any]] = load_target(LEARNERS[name])
    return learner


def _own_learner(target: str) -> Any:
    from raysweep.trainables.learner import Learner
    from raysweep.trainables.user.tune_task import tune_task

    code = load_target(target)
    if not (isinstance(code, type) and issubclass(code, Learner)):
        return tune_task(target, code)
    missing = sorted(getattr(code, "__abstractmethods__", ()))
    if missing:
        raise UserError(f"'{target}' does not say {', '.join(missing)}; see docs/your_model.md")
    return code
