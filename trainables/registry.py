"""The index of model families: a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest

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
    """The learner of that name.

    Raises:
        UserError: no family has that name; the message suggests the nearest one.
    """
    from importlib import import_module

    if name not in LEARNERS:
        raise UserError(f"no trainable is called '{name}'{nearest(name, LEARNERS)}")
    module, _, attribute = LEARNERS[name].partition(":")
    learner: type[Learner[Any]] = getattr(import_module(module), attribute)
    return learner
