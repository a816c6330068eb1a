"""The check that the user's code reaches another machine, which has none of the user's files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysweep.cluster.check.compare import PACKAGE, explain
from raysweep.cluster.check.outcome import FAILED, PASSED, Outcome
from raysweep.cluster.check.subject import Subject
from raysweep.core.targets import is_target, send_along, sent, user_modules
from raysweep.trainables.user.tune_task import TuneTask

__all__ = ["shipping"]


def shipping(subject: Subject) -> Outcome:
    """The class is sent as a search sends it, and trains where its file is not."""
    fix = (
        "nothing in your module may be bound to this process (open files, locks, connections, "
        "generators), and no file beside it may be needed: make such things in __init__ or "
        "load_data, and import only modules that are in your folder or installed"
    )
    elsewhere = subject.folder / "elsewhere"
    elsewhere.mkdir()
    with _sent(subject.task) as dumps:
        job = subject.job("sent")
        code: Any = subject.learner_class
        if trains := not issubclass(code, TuneTask):
            seen = "it trains in a process that has none of your files"
        else:
            code, seen = code.trainable, "it arrives in a process that has none of your files"
        try:
            answer = subject.workers.run(
                [dataclasses.replace(job, learner=code, trains=trains)],
                dumps=dumps,
                cwd=elsewhere,
                path=_path_elsewhere(subject),
            )[0]
        except Exception as error:
            return Outcome(FAILED, f"it cannot be sent: {explain(error)}", fix)
    if answer.error:
        return Outcome(FAILED, f"in an empty folder: {answer.error}", fix)
    return Outcome(PASSED, seen)


@contextmanager
def _sent(task: str) -> Iterator[Any]:
    """Cloudpickle as a search uses it; the modules are sent for as long."""
    from ray import cloudpickle

    modules = user_modules(task) if is_target(task) else []
    registered = set(cloudpickle.list_registry_pickle_by_value())
    send_along(cloudpickle, task)
    try:
        yield lambda job: cloudpickle.dumps(sent(job, task))
    finally:
        now = cloudpickle.list_registry_pickle_by_value()
        for module in modules:
            if module.__name__ in now - registered:
                cloudpickle.unregister_pickle_by_value(module)


def _path_elsewhere(subject: Subject) -> list[str]:
    """Where modules are found, without the folders of the user's; raysweep always is."""
    installed = subject.folder / "installed"
    installed.mkdir()
    (installed / "raysweep").symlink_to(PACKAGE)
    own = {Path.cwd()}
    if is_target(subject.task):
        for module in user_modules(subject.task):
            depth = module.__name__.count(".") + (Path(str(module.__file__)).stem == "__init__")
            own.add(Path(str(module.__file__)).resolve().parents[depth])
    kept = [entry for entry in sys.path if entry and Path(entry).resolve() not in own]
    return [str(installed), *kept]
