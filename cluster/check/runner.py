"""All checks in their order, and what each of them builds on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raysweep.cluster.check import basics, ranges, repeats, sets, shipping, together
from raysweep.cluster.check.compare import explain
from raysweep.cluster.check.outcome import (
    FAILED,
    NOT_APPLICABLE,
    NOT_TRIED,
    Line,
    Outcome,
)
from raysweep.cluster.check.processes import Workers
from raysweep.cluster.check.subject import Subject
from raysweep.cluster.runs.options import read_options
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError
from raysweep.core.targets import name_object
from raysweep.trainables import get_learner
from raysweep.trainables.user.tune_task import TuneTask

__all__ = ["CHECKS", "Check", "check_request", "run_checks"]


@dataclass(frozen=True)
class Check:
    """One promise.

    Attributes:
        name: its line in the table.
        run: proves it, or finds what breaks it.
        needs: checks without which it would say nothing of its own.
        of_functions: whether it can be proved of what Ray Tune alone can run, such as a function.
    """

    name: str
    run: Callable[[Subject], Outcome]
    needs: tuple[str, ...] = ()
    of_functions: bool = False


_TRAINS = ("data", "training", "finite numbers", "data untouched")
_REPEATS = (*_TRAINS, "same seed")
CHECKS = (
    Check("data", basics.data),
    Check("test set sealed", sets.sealed, ("data",)),
    Check("sets apart", sets.apart, ("data",)),
    Check("training", basics.training, ("data",)),
    Check("metrics", basics.metrics, ("data", "training")),
    Check("finite numbers", basics.finite, ("data", "training")),
    Check("data untouched", sets.untouched, ("data", "training")),
    Check("same seed", repeats.same_seed, _TRAINS),
    Check("resuming", repeats.resuming, _REPEATS),
    Check("nothing leaks", repeats.leaks, _REPEATS),
    Check("validation", repeats.validation, _REPEATS),
    Check("packs", together.packs, _REPEATS),
    Check("several processes", together.processes, (*_REPEATS, "metrics")),
    Check("other machines", shipping.shipping, _TRAINS, of_functions=True),
    Check("ranges", ranges.ranges, _TRAINS),
    Check("state", basics.size, (*_TRAINS, "resuming")),
    Check("time", basics.speed, ("data", "training")),
    Check("memory", basics.memory, _TRAINS),
)


def check_request(given: dict[str, Any]) -> SearchRequest:
    """The request that `train` makes of what it is given; raises UserError as `read_options` does.

    No metric is chosen by, so a function need not name the one that it reports.
    """
    task = given["task"]
    task = task if isinstance(task, str) else name_object(task)
    if issubclass(get_learner(task), TuneTask):
        given = {**given, "metric": "reported", "mode": "min"}
    return read_options({**given, "task": task})[0]


def run_checks(
    request: SearchRequest,
    progress: Callable[[float], None] = lambda done: None,
    workers: Workers | None = None,
) -> list[Line]:
    """Proves all promises on one configuration, one after another.

    Args:
        request: names the trainable, its settings and its data; already `checked()`.
        progress: called with how many checks are done.
        workers: other processes; started here by default.

    Returns:
        a line for each check, in the order of `CHECKS`.

    Raises:
        UserError: the data cannot be read.
    """
    lines: list[Line] = []
    with (
        tempfile.TemporaryDirectory(prefix="raysweep-check-") as folder,
        nullcontext(workers) if workers else Workers.start() as others,
        _one_thread(),
    ):
        subject = Subject(
            task=request.task,
            learner_class=request.learner,
            config=request.config({}),
            data=request.learner.data_class.create(request.data),
            folder=Path(folder),
            workers=others,
            device="cuda" if request.gpus else "cpu",
        )
        for number, check in enumerate(CHECKS):
            start = time.perf_counter()
            outcome = _outcome(check, subject, {line.name: line.outcome for line in lines})
            lines.append(Line(check.name, outcome, time.perf_counter() - start))
            progress(number + 1)
    return lines


def _outcome(check: Check, subject: Subject, before: dict[str, Outcome]) -> Outcome:
    if reason := _not_applicable(check, subject):
        return Outcome(NOT_APPLICABLE, reason)
    for need in check.needs:
        if before[need].status in (FAILED, NOT_TRIED):
            return Outcome(NOT_TRIED, f"builds on `{need}`")
    try:
        return check.run(subject)
    except UserError:
        raise
    except Exception as error:
        return Outcome(FAILED, explain(error), "make this work; the message says what stopped it")


def _not_applicable(check: Check, subject: Subject) -> str:
    """Why a promise is not made for what is checked; empty where it is.

    This is the one place for what Ray Tune runs: it brings its own data and its own loop, which
    report to Ray alone.
    """
    if issubclass(subject.learner_class, TuneTask) and not check.of_functions:
        return "is promised of classes on raysweep.Learner"
    return ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Trains on one core, as a trial does, and leaves PyTorch as it was."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
