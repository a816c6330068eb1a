"""The index of model families: a line each. Installed packages add theirs (`core.plugins`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.plugins import find_plugin, installed_plugins
from raysweep.core.targets import is_target, load_target

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = ["LEARNERS", "check_trainable", "get_learner", "known_trainables"]

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
            `package.module:name`; what Ray Tune can run is given as a `TuneTask`. Built-in names
            win.

    Raises:
        UserError: no family has that name; the message suggests the nearest one. Or it cannot be
            loaded, or is nothing that can be trained.
    """
    if name in LEARNERS:
        learner: type[Learner[Any]] = load_target(LEARNERS[name])
        return learner
    if is_target(name):
        return check_trainable(name, load_target(name))
    plugin = find_plugin("trainable", name)
    if plugin is None:
        raise UserError(
            f"no trainable is called '{name}'{nearest(name, known_trainables())} One of yours is "
            "file.py:NAME or package.module:NAME"
        )
    return check_trainable(plugin.target, plugin.load())


def known_trainables() -> list[str]:
    """The names of all trainables, those of installed packages last; none is imported."""
    others = (plugin.name for plugin in installed_plugins("trainable"))
    return [*LEARNERS, *(name for name in others if name not in LEARNERS)]


def check_trainable(target: str, code: Any) -> type[Learner[Any]]:
    """What a target named, as a learner.

    Args:
        target: as it was named.
        code: a `Learner`, or what Ray Tune can run, which is given as a `TuneTask`.

    Raises:
        UserError: it is neither, or a learner that does not say all it must.
    """
    from raysweep.trainables.learner import Learner
    from raysweep.trainables.user.tune_task import tune_task

    if not (isinstance(code, type) and issubclass(code, Learner)):
        return tune_task(target, code)
    missing = sorted(getattr(code, "__abstractmethods__", ()))
    if missing:
        raise UserError(f"'{target}' does not say {', '.join(missing)}; see docs/your_model.md")
    return code
