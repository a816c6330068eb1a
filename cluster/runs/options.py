"""How a request is run: where, beside what, for how long. Nothing here changes a result."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.cluster.runs.request import SearchRequest, check_limits
from raysweep.core.config import option
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.core.targets import name_object

__all__ = ["RunOptions", "check_name", "read_options"]

_DATA_FIELDS = ("dataset", "data_dir", "split")
_DEFAULT_SAMPLES = 40


def check_name(name: str) -> str:
    """A run's name as a single folder's; raises UserError for anything else."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}", name):
        raise UserError(f"--name {name!r}: use letters, digits and . _ - + = only")
    return name


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `tune` and `train` that are not part of the request.

    A run may be resumed with others. The fields' meanings are the command line's help.
    """

    name: str | None = option(
        None,
        "The run's name. By default equal requests share one, so that repeating a command resumes "
        "it.",
    )
    storage: str = option("runs", "Folder of all runs, or s3://bucket/folder.")
    address: str | None = option(
        None, "A Ray cluster's address, or 'auto'; this machine alone by default."
    )
    max_concurrent: int | None = option(None, "Trials at a time; as many as fit by default.", low=1)
    pack: str = option(
        "auto",
        "Trials that train in one process on the same batches, where they differ in rates and "
        "penalties only; auto: where that is known to be faster.",
    )
    time_budget: float | None = option(
        None, "Seconds after which to pause; the same command goes on."
    )
    target: float | None = option(
        None, "A value of the metric that is good enough: reaching it ends the search."
    )
    patience: int | None = option(
        None, "Trials in a row that may bring nothing better before the search ends.", low=1
    )
    workers: int = option(
        1, "Processes that share every batch; each has the --cpus and --gpus.", low=1
    )
    changed_code: bool = option(
        False, "Go on with a run although the code of your trainable has changed since."
    )
    callbacks: Sequence[Any] = option((), "Ray Tune's callbacks (`ray.tune.Callback`) of yours.")
    quiet: bool = option(False, "No progress line.")
    show_metric: bool = option(True, "The progress line shows the best validation metric.")

    def __post_init__(self) -> None:
        check_limits(self)

    def folder(self, request: SearchRequest) -> Storage:
        """The folder of the request's run; raises UserError for a name that cannot be one."""
        return Storage(self.storage) / check_name(self.name or request.default_name())


def read_options(given: Mapping[str, Any]) -> tuple[SearchRequest, RunOptions]:
    """The request and how to run it, from what `tune` or `train` was given; both checked.

    Args:
        given: fields of both by name; besides `epochs`, which is one of the settings, and
            `dataset`, `data_dir` and `split`, which are fields of the data's configuration.

    Raises:
        UserError: whatever `SearchRequest.checked` refuses, a name that no folder can have, or two
            values for one field.
    """
    values = dict(given)
    points = values.pop("points_to_evaluate", None) or ()
    if isinstance(points, Mapping):
        points = (points,)
    if not isinstance(points, Sequence) or not all(isinstance(p, Mapping) for p in points):
        raise UserError(
            f"points_to_evaluate={points!r:.80}: give dictionaries of fields and values"
        )
    values["points_to_evaluate"] = tuple(dict(point) for point in points)
    values["task"] = _named(values["task"])
    for name in ("spaces", "warm_start", "search", "objective", "constraint"):
        words = values.get(name) or ()
        several = isinstance(words, Sequence) and not isinstance(words, str)
        values[name] = tuple(map(_named, words if several else (words,)))
    for name in ("metric", "mode"):
        if values.get(name) and values["objective"]:
            raise UserError(
                f"--{name} {values[name]} and --objective {values['objective'][0]} both say what "
                f"to judge by; leave --{name} out, and write --objective NAME or NAME:min|max"
            )
    # From Python `1` and a path are as good as the command line's `1.0` and text.
    values |= {name: str(values[name]) for name in ("pack", "storage") if name in values}
    numbers = ("cpus", "gpus", "reduction_factor", "budget", "until")
    values |= {name: float(values[name]) for name in numbers if values.get(name) is not None}
    settings, data = dict(values.pop("settings", None) or {}), dict(values.pop("data", None) or {})
    epochs = values.pop("epochs", None)
    if epochs is not None:
        if "epochs" in settings:
            raise UserError("--epochs and --set epochs=… say the same; leave one of them out")
        settings["epochs"] = epochs
    for name in _DATA_FIELDS:
        if (value := values.pop(name, None)) is not None:
            data[name] = str(value)
    names = {f.name for f in dataclasses.fields(RunOptions)}
    options = RunOptions(**{name: values.pop(name) for name in names & set(values)})
    if values.get("num_samples") is None and values.get("searcher") not in ("grid", "curves"):
        values["num_samples"] = _DEFAULT_SAMPLES if values["spaces"] or values["search"] else 1
    request = SearchRequest(settings=settings, data=data, **values).checked()
    if not values.get("mode") and not request.learner.metrics and not options.quiet:
        word = "small" if request.mode == "min" else "large"
        print(
            f"{request.metric} is taken to be good where it is {word}; --mode says otherwise",
            file=sys.stderr,
        )
    options.folder(request)
    return request, options


def _named(code: Any) -> str:
    """The name of what was given: itself, or that of an object of Python's."""
    if isinstance(code, (str, os.PathLike)):
        return str(code)
    if isinstance(code, Mapping):
        from raysweep.search_spaces import describe_domains

        return name_object(code, describe_domains(code))
    return name_object(code)
