"""Runs the user's own Ray Tune trainable, a function or a class, as a trial of a run.

The code runs as it would under Ray Tune alone. Around it, what it reports is written down: its
checkpoints are kept in the trial's folder, the newest and the best, with `state.json` beside them,
which says how far the trial has come. So a trial goes on from its newest checkpoint wherever and
whenever it starts again. PyTorch is not imported here: the code may not need it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS, DONE, RESULT_DUPLICATE, SHOULD_CHECKPOINT, TRIAL_INFO

from raysweep.core.errors import nearest
from raysweep.core.free_config import flatten, nest
from raysweep.core.objectives import Constraint, Objective, broken, judged_by
from raysweep.core.ray_private import (
    empty_checkpoint,
    reported_checkpoint,
    restored_from,
    trial_storage,
    wrapped_function,
)
from raysweep.core.storage import Storage
from raysweep.trainables.trial_files import INDEX, STATE, trial_folder

__all__ = ["UserTrainable"]

_NOT_METRICS = {*AUTO_RESULT_KEYS, DONE, RESULT_DUPLICATE, SHOULD_CHECKPOINT}
_CHECKPOINT = "checkpoint_"  # as Ray names them, with a number


class UserTrainable(tune.Trainable):
    """A trial of the user's code.

    The configuration holds the code's fields and `trial_index`. The rest comes through
    `tune.with_parameters`: the code, the run's folder, the metric with its mode, whether Ray's
    scheduler copies states between trials, and further objectives and constraints.
    """

    def setup(
        self,
        config: dict[str, Any],
        code: Any = None,
        run_uri: str = "",
        metric: str = "",
        mode: str = "min",
        ray_states: bool = False,
        objectives: Sequence[Objective] = (),
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Starts the process's first trial."""
        self._is_function = not isinstance(code, type)
        self._code = wrapped_function(code) if self._is_function else code
        self._metric, self._mode = metric, mode
        self._objectives, self._constraints = objectives, constraints
        self._run, self._ray_states = Storage(run_uri), ray_states
        self._inner: tune.Trainable | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in this process, when the code of the last one has ended."""
        self._end_inner()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the user's code."""
        self._end_inner()

    def _end_inner(self) -> None:
        """Ends the code of the last trial: a function where it reports next."""
        inner, self._inner = self._inner, None
        if inner is None:
            return
        with contextlib.suppress(Exception):  # what the code raises at its end is of no trial
            if self._is_function and not inner.reset_config({}):
                os._exit(1)  # It goes on all the same: the next trial gets a process of its own.
        with contextlib.suppress(Exception):
            inner.stop()

    def _begin(self, config: dict[str, Any]) -> None:
        self._failure = self._refusal = self._storage_failure = ""
        self._fields = {k: v for k, v in config.items() if k != INDEX}
        self._folder = self._run / trial_folder(int(config[INDEX]))
        self._history: list[dict[str, Any]] = []
        self._checkpoint: str | None = None
        self._best: dict[str, Any] = {}
        self._over = self._repeat = self._fresh = False
        try:
            self._read_state(json.loads(self._folder.read(STATE)))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._storage_failure = f"{error}"

    def _read_state(self, state: Mapping[str, Any]) -> None:
        if state["config"] != self._fields:
            return
        self._history, self._best = list(state["history"]), dict(state["best"])
        self._checkpoint, self._over = state["checkpoint"], bool(state["over"])
        # The process may have died between writing this and reporting it.
        self._repeat = bool(self._history)

    def _start(self) -> tune.Trainable:
        """The user's code, from its newest checkpoint on if it has one."""
        _seed(int(self._fields.get("seed") or 0), len(self._history))
        number = -1 if self._checkpoint is None else int(self._checkpoint.removeprefix(_CHECKPOINT))
        self._remove_others()
        filesystem, path = self._folder.arrow()
        config = {**nest(self._fields), TRIAL_INFO: self._trial_info}
        storage = trial_storage(self._storage, filesystem, path, number + 1)
        inner: tune.Trainable = self._code(config=config, storage=storage)
        if self._checkpoint is not None:
            saved = tune.Checkpoint(f"{path}/{self._checkpoint}", filesystem)
            inner.restore(restored_from(saved, len(self._history)))
        return inner

    def step(self) -> dict[str, Any]:
        """Runs the code up to its next report. A failure of the code is a result, not a crash."""
        if not (self._repeat or self._over or self._storage_failure):
            self._advance()
        if self._storage_failure:
            return {"storage_failure": self._storage_failure, "done": True}
        if self._refusal:
            return {"refusal": self._refusal, "done": True}
        if self._failure:
            return {"failure": self._failure, "done": True}
        repeated, self._repeat = self._repeat, False
        fresh, self._fresh = self._fresh, False
        last = self._history[-1]
        infeasible = broken(self._constraints, self._history[0])
        return {
            "epoch": last["epoch"],
            self._metric: last[self._metric],
            **{each.name: last[each.name] for each in self._objectives},
            **({"infeasible": infeasible} if infeasible else {}),
            "report": json.dumps(last),
            "history": json.dumps(self._history) if repeated else "[]",
            "fresh": fresh,  # and not only that the code has ended, or what was reported before
            "resumable": self._checkpoint is not None,
            "finished": self._over and not infeasible,
            "done": self._over or bool(infeasible),
        }

    def _advance(self) -> None:
        start = time.perf_counter()
        try:
            if self._inner is None:
                self._inner = self._start()
            result = self._inner.train()
        except Exception as error:
            self._failure = self._explain(error)
            return
        try:
            self._take(result, time.perf_counter() - start)
        except OSError as error:
            self._storage_failure = f"{error}"

    def _take(self, result: Mapping[str, Any], seconds: float) -> None:
        """Writes a report down, or that the code has ended."""
        if RESULT_DUPLICATE in result:
            self._over = True
            if self._history:
                self._write_state()
            else:
                self._refusal = (
                    f"{self._label()} ended without a result; it must call "
                    f'`ray.tune.report({{"{self._metric}": …}})`, or return such a dictionary'
                )
            return
        epoch = len(self._history) + 1
        row: dict[str, Any] = {"epoch": epoch, **_metrics(result, self._metric)}
        row["time_epoch_s"] = seconds
        judging = [self._metric, *judged_by(self._objectives, self._constraints)]
        for name in judging:
            if name not in row:
                named = sorted(set(row) - {"epoch", "time_epoch_s"})
                self._refusal = (
                    f"{self._label()} reported {', '.join(named) or 'no number'}, and not "
                    f"{name}{nearest(name, named)}"
                )
                return
        for name in judging:
            if not math.isfinite(row[name]):
                self._failure = f"{name} is {row[name]} in report {epoch}, and no finite number"
                self._folder.write("error.txt", self._failure + "\n")
                return
        value = row[self._metric]
        self._history.append(row)
        self._fresh = True
        limit = self._fields.get("epochs")
        self._over = bool(result.get(DONE)) or (limit is not None and epoch >= int(limit))
        before = {self._checkpoint, self._best.get("checkpoint")}
        checkpoint = self._save_inner()
        if checkpoint is not None:
            self._checkpoint = Path(checkpoint.path).name
            than = self._best.get("value")
            if than is None or (value < than if self._mode == "min" else value > than):
                self._best = {"value": value, "epoch": epoch, "checkpoint": self._checkpoint}
        if checkpoint is not None or self._over:
            self._write_state()
            for replaced in before - self._kept():
                (self._folder / str(replaced)).remove_all()

    def _kept(self) -> set[str | None]:
        """The checkpoints that are kept: the newest and the best."""
        return {self._checkpoint, self._best.get("checkpoint"), None}

    def _save_inner(self) -> Any:
        """The checkpoint that came with the report; a class is asked for one."""
        assert self._inner is not None
        if self._is_function:
            return reported_checkpoint(self._inner)
        try:
            return self._inner.save().checkpoint
        except NotImplementedError:  # a class without states starts anew
            return None

    def _write_state(self) -> None:
        state = {
            "config": self._fields,
            "history": self._history,
            "best": self._best,
            "checkpoint": self._checkpoint,
            "over": self._over,
        }
        self._folder.write(STATE, json.dumps(state))

    def _remove_others(self) -> None:
        """Removes what a process that died has left: checkpoints that were never whole."""
        names = {name.partition("/")[0] for name, _ in self._folder.files()}
        for name in names - self._kept():
            if name.startswith(_CHECKPOINT):
                (self._folder / name).remove_all()

    def _label(self) -> str:
        return str(getattr(self._code, "_name", None) or self._code.__name__)

    def _explain(self, error: Exception) -> str:
        """Keeps the traceback, as far as it is the user's, in the trial's folder; sums it up."""
        while error.__cause__ is not None and type(error).__module__.startswith("ray."):
            error = error.__cause__  # type: ignore[assignment]
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/ray/" not in f.filename and f.filename != __file__]
        lines = [*traceback.format_list(own), *traceback.format_exception_only(error)]
        with contextlib.suppress(OSError):
            self._folder.write("error.txt", "".join(lines))
        text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if isinstance(error, FileNotFoundError) and not Path(str(error.filename)).is_absolute():
            text += " (a trial has a working folder of its own; use absolute paths)"
        return text

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Gives Ray a state only where its scheduler copies them between trials."""
        return super().save(checkpoint_dir) if self._ray_states else empty_checkpoint()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies the newest checkpoint for Ray (population-based training)."""
        folder = Storage(checkpoint_dir)
        folder.write(STATE, json.dumps({"history": self._history, "checkpoint": self._checkpoint}))
        if self._checkpoint is not None:
            saved = self._folder / self._checkpoint
            for name, _ in list(saved.files()):
                folder.write(f"{self._checkpoint}/{name}", saved.read(name))

    def load_checkpoint(self, checkpoint_dir: str | dict[str, Any] | None) -> None:
        """Takes the state of this or another trial, and goes on with this trial's settings."""
        folder = Storage(str(checkpoint_dir))
        state = json.loads(folder.read(STATE))
        self._end_inner()
        self._history, self._checkpoint = list(state["history"]), state["checkpoint"]
        self._repeat = self._over = False
        if self._checkpoint is not None:
            saved = folder / self._checkpoint
            for name, _ in list(saved.files()):
                self._folder.write(f"{self._checkpoint}/{name}", saved.read(name))
            self._write_state()


def _seed(*numbers: int) -> None:
    """Seeds Python's, NumPy's and, if it is loaded, PyTorch's generator from these numbers."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (what the user's code may draw from)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _metrics(result: Mapping[str, Any], metric: str) -> dict[str, float]:
    """The numbers among what was reported; of nested dictionaries as `outer/inner`."""
    numbers: dict[str, float] = {}
    for name, value in flatten(dict(result)).items():
        if name.startswith("config/") or (name in _NOT_METRICS and name != metric):
            continue
        if hasattr(value, "item") and getattr(value, "size", None) == 1:
            value = value.item()
        if isinstance(value, (bool, int, float)):
            numbers[name] = float(value) if isinstance(value, float) else int(value)
    return numbers
