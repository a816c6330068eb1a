"""Whatever Ray Tune runs, a function or a `tune.Trainable` class, in the place of a learner.

More is known of a learner, so that more is promised (docs/your_model.md has the table). Here the
code loads its own data and says what it measured; which metric counts, the user says.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.core.free_config import FreeConfig, nest
from raysweep.core.targets import own_frames
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.user.tensors import NoData

__all__ = ["TuneTask", "bundles", "guess_mode", "resource_request", "tune_task"]

# Parts of metrics' names that say which way is better.
_SMALL = ("loss", "error", "rmse", "mse", "mae", "perplexity", "latency", "regret", "nll", "_s")
_LARGE = ("acc", "auc", "f1", "score", "reward", "r2", "precision", "recall", "iou", "ndcg", "bleu")


class TuneTask(Learner[Any]):
    """Stands for the user's code wherever a learner's class is asked; it is never built.

    Attributes of the class:
        trainable: the function or the class.
    """

    trainable: ClassVar[Any]
    config_class: ClassVar[type[Config]] = FreeConfig  # type: ignore[assignment]
    data_class = NoData
    metrics: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        """Nothing: the code loads its own data."""
        return Dataset({}, {}, fingerprint="none", description=f"{cls.name} loads its own data")


@cache
def tune_task(target: str, code: Any) -> type[TuneTask]:
    """The task of a function or a `tune.Trainable` class.

    Args:
        target: as it was named.
        code: what it names.

    Raises:
        UserError: it is neither.
    """
    name = target.rpartition(":")[2]
    if inspect.isclass(code):
        from ray.tune import Trainable

        if not issubclass(code, Trainable):
            raise UserError(
                f"'{target}' is a class, but neither a raysweep.Learner nor a ray.tune.Trainable; "
                "docs/your_model.md shows all that can be searched"
            )
    elif not callable(code):
        raise UserError(
            f"'{target}' is {code!r:.80}; name a function, a ray.tune.Trainable or a "
            "raysweep.Learner"
        )
    elif not _takes_config(code):
        raise UserError(
            f"{name}{inspect.signature(code)} cannot be searched: it must take one argument, the "
            "configuration, as in `def train(config):`; give others by `tune.with_parameters`"
        )
    doc = (inspect.getdoc(code) or "").partition("\n")[0]
    members = {"name": name, "summary": doc, "trainable": staticmethod(code)}
    if inspect.isclass(code):
        members["trainable"] = code
    return type(name, (TuneTask,), members)


def _takes_config(function: Any) -> bool:
    try:
        inspect.signature(function).bind({})
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def resource_request(task: type[TuneTask]) -> Any:
    """What the user's code says that a trial needs.

    Returns:
        Ray's `PlacementGroupFactory`, a function that makes one of a configuration, or None.
    """
    code = task.trainable
    asked = getattr(code, "_resources", None)  # of `tune.with_resources`
    if asked is None and inspect.isclass(code):
        asked = getattr(code, "default_resource_request", None)
    return asked


def bundles(task: type[TuneTask], config: FreeConfig) -> list[dict[str, float]]:
    """What each process of a trial needs, by the resource's name; empty if the code says nothing.

    Raises:
        UserError: the function that says so failed.
    """
    asked = resource_request(task)
    if callable(asked) and not hasattr(asked, "bundles"):
        try:
            asked = asked(nest(config.to_dict()))
        except Exception as error:
            raise UserError(f"the resources of {task.name} failed:\n{own_frames(error)}") from None
    return [] if asked is None else list(asked.bundles)


def guess_mode(metric: str) -> str:
    """Whether a metric is to be small ("min") or large ("max"), by its name; "" if it says nothing.

    Args:
        metric: such as `val_loss` or `mean_accuracy`.
    """
    name = metric.lower()
    small = any(name.endswith(part) for part in _SMALL)
    large = any(part in name for part in _LARGE)
    return "" if small == large else "min" if small else "max"
