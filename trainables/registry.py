"""The index of model families: a line each. Installed packages add theirs (`core.plugins`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.plugins import find_plugin, installed_plugins
from raysweep.core.targets import is_target, load_target, source_hash

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = ["LEARNERS", "check_learner", "code_version", "get_learner", "known_trainables"]

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
        name: a built-in one, one of an installed package, or `file.py:name` or
            `package.module:name`. Built-in names win.

    Raises:
        UserError: no family has that name; the message suggests the nearest one. Or it cannot be
            loaded, or is no learner.
    """
    if name in LEARNERS:
        learner: type[Learner[Any]] = load_target(LEARNERS[name])
        return learner
    if is_target(name):
        return check_learner(name, load_target(name))
    plugin = find_plugin("trainable", name)
    if plugin is None:
        raise UserError(
            f"no trainable is called '{name}'{nearest(name, known_trainables())} One of yours is "
            "file.py:NAME or package.module:NAME"
        )
    return check_learner(plugin.target, plugin.load())


def known_trainables() -> list[str]:
    """The names of all trainables, those of installed packages last; none is imported."""
    others = (plugin.name for plugin in installed_plugins("trainable"))
    return [*LEARNERS, *(name for name in others if name not in LEARNERS)]


def code_version(name: str) -> str | None:
    """What changes with the code of a trainable that is not built in; None for one that is.

    Returns:
        A hash of its source, or for an installed package its name and version.
    """
    if name in LEARNERS:
        return None
    if is_target(name):
        return source_hash(name)
    plugin = find_plugin("trainable", name)
    return None if plugin is None else source_hash(plugin.target) or plugin.origin


def check_learner(target: str, learner: Any) -> type[Learner[Any]]:
    """What a target named, if it is a learner that says all it must; raises UserError if not."""
    from raysweep.trainables.learner import Learner

    if not isinstance(learner, type) or not issubclass(learner, Learner):
        raise UserError(
            f"'{target}' is {learner!r:.80}, and no Learner; write a class on "
            "raysweep.TensorLearner or raysweep.Learner"
        )
    missing = sorted(getattr(learner, "__abstractmethods__", ()))
    if missing:
        raise UserError(f"'{target}' does not say {', '.join(missing)}; see docs/your_model.md")
    return learner
