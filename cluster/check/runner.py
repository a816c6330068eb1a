"""All checks in their order, and what each of them builds on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from raysweep.cluster.check import (
    first_look,
    measures,
    ranges,
    repeats,
    sets,
    shipping,
    together,
)
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
from raysweep.core.errors import UserError
from raysweep.trainables.learner import Learner

if TYPE_CHECKING:
    from raysweep.cluster.runs.request import SearchRequest

__all__ = ["CHECKS", "Check", "run_checks"]


@dataclass(frozen=True)
class Check:
    """One promise.

    Attributes:
        name: its line in the table.
        run: proves it, or finds what breaks it.
        needs: checks without which it would say nothing of its own.
    """

    name: str
    run: Callable[[Subject], Outcome]
    needs: tuple[str, ...] = ()


_TRAINS = ("data", "training", "finite numbers", "data untouched")
_REPEATS = (*_TRAINS, "same seed")
CHECKS = (
    Check("data", first_look.data),
    Check("test set sealed", sets.sealed, ("data",)),
    Check("sets apart", sets.apart, ("data",)),
    Check("training", first_look.training, ("data",)),
    Check("metrics", first_look.metrics, ("data", "training")),
    Check("finite numbers", first_look.finite, ("data", "training")),
    Check("data untouched", sets.untouched, ("data", "training")),
    Check("same seed", repeats.same_seed, _TRAINS),
    Check("resuming", repeats.resuming, _REPEATS),
    Check("nothing leaks", repeats.leaks, _REPEATS),
    Check("validation", repeats.validation, _REPEATS),
    Check("packs", together.packs, _REPEATS),
    Check("several processes", together.processes, (*_REPEATS, "metrics")),
    Check("other machines", shipping.shipping, _TRAINS),
    Check("ranges", ranges.ranges, _TRAINS),
    Check("state", measures.size, (*_TRAINS, "resuming")),
    Check("time", measures.speed, ("data", "training")),
    Check("memory", measures.memory, _TRAINS),
)


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

    This is the one place for targets that are no `Learner`, such as a plain function: of those only
    some promises can hold.
    """
    if not issubclass(subject.learner_class, Learner):
        return f"`{check.name}` is a promise for classes on raysweep.Learner"
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
