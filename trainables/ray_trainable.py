"""The one Ray Tune trainable: it runs any learner, an epoch a step, and survives its own death.

A trial's state is written after every epoch, before the result is reported, and read back whenever
the trial starts again: after a crash of the worker, of the node or of the whole command, or after
the scheduler paused it. Ray's own checkpoints are used only where one trial copies another (PBT).
"""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ray import tune

from raysweep.core.objectives import Constraint, Objective, broken, judged_by
from raysweep.core.ray_private import empty_checkpoint
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint
from raysweep.trainables.learner import Learner, is_better
from raysweep.trainables.measures import Meter
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.pack import Pack
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.trial_files import BEST, INDEX, LAST, member_configs, trial_folder

__all__ = ["LearnerTrainable", "PackTrainable"]


class LearnerTrainable(tune.Trainable):
    """Runs a learner under Ray Tune.

    The configuration holds the learner's fields and `trial_index`. What is the same for all trials
    comes through `tune.with_parameters`: the learner's class, its arrays (one copy a node, read in
    place), the run's folder, the metric with its mode, the number of threads, whether the trial
    has a GPU, and objectives and constraints, which say what is measured.
    """

    # Of workers that share one trial's batches (`cluster.search.workers.ray_train`).
    _parallel: Parallel | None = None

    def setup(
        self,
        config: dict[str, Any],
        learner_class: type[Learner[Any]] | None = None,
        arrays: Mapping[str, Any] | None = None,
        run_uri: str = "",
        metric: str = "",
        mode: str = "min",
        threads: int = 1,
        gpus: float = 0,
        ray_states: bool = True,
        objectives: Sequence[Objective] = (),
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Starts the process's first trial."""
        assert learner_class is not None
        assert arrays is not None
        torch.set_num_threads(threads)
        self._learner_class, self._arrays = learner_class, arrays
        self._metric, self._mode = metric, mode
        self._objectives, self._constraints = objectives, constraints
        self._device = "cuda" if gpus else "cpu"
        if 0 < gpus < 1:
            # Trials that share a GPU: one that takes more fails by itself, not its neighbours.
            torch.cuda.set_per_process_memory_fraction(gpus)
        self._run = Storage(run_uri)
        self._ray_states = ray_states
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in this process; nothing of the last one is kept but the data."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._failure: str | None = None
        self._storage_failure: str | None = None
        self._history: list[dict[str, Any]] = []
        self._best: dict[str, Any] | None = None
        self._repeat = False
        self._texts: dict[str, str] = {}
        self._folder = self._run / trial_folder(int(config[INDEX]))
        try:
            self._start_learner(config)
        except OSError as error:
            self._storage_failure = f"{error}"
        except Exception as error:
            self._failure = self._explain(error)

    def _start_learner(self, config: dict[str, Any]) -> None:
        values = {k: v for k, v in config.items() if k != INDEX}
        self._settings: TrainingConfig = self._learner_class.config_class.create(values)
        named = judged_by(self._objectives, self._constraints)
        self._meter = Meter(named, torch.device(self._device))
        self._learner = self._learner_class(self._settings, self._arrays, self._device)
        self._trainer = Trainer(self._learner, self._parallel)
        try:
            state, header = checkpoint.load(self._folder, LAST)
        except FileNotFoundError:
            return
        # A state from before a field was there has that field's default.
        if self._learner_class.config_class.create(header["config"]) == self._settings:
            self._restore(state, header)
            self._best = header["best"]
            # The worker may have died between writing this state and reporting it.
            self._repeat = True

    def _restore(self, state: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        self._learner.load_state_dict(state)
        self._history = list(header["history"])

    def step(self) -> dict[str, Any]:
        """One epoch: train, validate, save, report. A failure is a result, not a crash."""
        if self._storage_failure is None and self._failure is None and not self._repeat:
            try:
                self._run_epoch()
            except OSError as error:
                self._storage_failure = f"{error}"
            except Exception as error:
                self._failure = self._explain(error)
        if self._storage_failure is not None:
            # A model opens no files: it is the run's storage, full or gone, that failed.
            return {"storage_failure": self._storage_failure, "done": True}
        repeated, self._repeat = self._repeat, False
        if self._failure is not None:
            return {"failure": self._failure, "done": True}
        last = self._history[-1]
        infeasible = self._broken()
        finished = self._finished() and not infeasible
        return {
            "epoch": last["epoch"],
            self._metric: last[self._metric],
            **{each.name: last[each.name] for each in self._objectives},
            **({"infeasible": infeasible} if infeasible else {}),
            # As text: Ray Tune keeps statistics of every number that it sees, for every trial.
            "report": json.dumps(last),
            # What a driver that died in the meantime may not have written down.
            "history": json.dumps(self._history) if repeated else "[]",
            "texts": self._texts,
            "finished": finished,
            "done": finished or bool(infeasible),
        }

    def _broken(self) -> str:
        """Which constraint the first epoch broke, in words; empty if it kept to all."""
        return broken(self._constraints, self._history[0])

    def _run_epoch(self) -> None:
        start = time.perf_counter()
        result = self._trainer.run_epoch()
        self._keep(result, time.perf_counter() - start)

    def _keep(self, result: dict[str, Any], seconds: float) -> None:
        """Writes an epoch down: history, best weights, state."""
        result["time_epoch_s"] = seconds
        result |= self._meter.measure(self._learner)
        self._history.append(result)
        self._texts = self._learner.samples()
        than = None if self._best is None else self._best[self._metric]
        if is_better(result[self._metric], than, self._mode):
            self._best = result
            weights = {"model": self._learner.state_dict()["model"]}
            self._save(BEST, weights)
        state = self._learner.state_dict()
        if self._finished():
            del state["optimizer"]  # Most of the file, and no epoch follows that would need it.
        self._save(LAST, state)

    def _finished(self) -> bool:
        if not self._history or self._best is None:
            return False
        end = self._settings.stop_after or self._settings.epochs
        epoch, patience = self._history[-1]["epoch"], self._settings.stop_patience
        in_vain = patience is not None and epoch - self._best["epoch"] >= patience
        return bool(epoch >= end or in_vain)

    def _save(self, name: str, state: Mapping[str, Any]) -> None:
        checkpoint.save(self._folder, name, state, self._header())

    def _header(self) -> dict[str, Any]:
        return {
            "learner": self._learner_class.name,
            "config": self._settings.to_dict(),
            "history": self._history,
            "best": self._best,
        }

    def _explain(self, error: Exception) -> str:
        """Keeps the whole traceback in the trial's folder and returns its last line."""
        with contextlib.suppress(OSError):
            self._folder.write("error.txt", traceback.format_exc())
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """What Ray Tune asks for when it pauses a trial.

        The trial's own state is in the run's folder already, and a trial that goes on finds it
        there. So Ray gets none, unless its scheduler copies states (`ray_states`): each would be
        written to the storage once more, without patience for a store that fails.
        """
        if self._ray_states:
            return super().save(checkpoint_dir)
        return empty_checkpoint()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the state for Ray (population-based training copies it between trials)."""
        checkpoint.save(Storage(checkpoint_dir), LAST, self._learner.state_dict(), self._header())

    def load_checkpoint(self, checkpoint_dir: str | dict[str, Any] | None) -> None:
        """Takes the state of this or of another trial, and goes on with this trial's settings.

        The best epoch stays this trial's own: that is what its ledger and its best file speak of.
        """
        state, header = checkpoint.load(Storage(str(checkpoint_dir)), LAST)
        self._restore(state, header)
        self._repeat = False


class _Member(LearnerTrainable):
    """One trial of a pack; Ray Tune does not know of it."""

    def __init__(self, config: dict[str, Any], shared: Mapping[str, Any]) -> None:
        self.index = int(config[INDEX])
        self.done = False
        self.setup(config, **shared)

    def take(self, result: dict[str, Any] | Exception, seconds: float) -> None:
        """Keeps what training came to: an epoch's result, or a failure."""
        try:
            if isinstance(result, Exception):
                raise result
            self._keep(result, seconds)
        except OSError as error:
            self._storage_failure = f"{error}"
        except Exception as error:
            self._failure = self._explain(error)

    def report(self) -> dict[str, Any] | None:
        """The last result, or None before the first."""
        if not self._history and self._failure is None:
            return None
        self._repeat = True
        result = self.step()
        self.done = bool(result["done"])
        return {**result, INDEX: self.index}


class PackTrainable(tune.Trainable):
    """Several trials of the run as one of Ray Tune's: they train as one model (`trainables.pack`).

    Each keeps its folder, state, history and best epoch, as if it ran alone, and each starts from
    its own last state. So a pack can be taken apart, or lose members, between any two epochs. A
    result holds the members' reports, and whether all of them are at the same epoch (`even`); those
    behind train first.
    """

    def setup(self, config: dict[str, Any], **shared: Any) -> None:
        """Starts the process's first pack."""
        self._shared = shared
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another pack in this process."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._members = [_Member(each, self._shared) for each in member_configs(config)]
        self._pack: Pack | None = None

    def step(self) -> dict[str, Any]:
        """One epoch of all members, or first a repetition of what restored ones have reached."""
        failed = any(member._storage_failure for member in self._members)
        if not failed and not any(m._repeat and not m.done for m in self._members):
            self._train()
        for member in self._members:
            if member._storage_failure:
                return {"storage_failure": member._storage_failure, "members": [], "done": True}
        reports = [report for member in self._members if (report := member.report())]
        for member in self._members:
            member._repeat = False
        epochs = {member._learner.epoch for member in self._going()}
        done = all(member.done for member in self._members)
        return {"members": reports, "even": len(epochs) < 2, "done": done}

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Gives Ray nothing to keep: each member's state is in its folder already."""
        return empty_checkpoint()

    def _going(self) -> list[_Member]:
        return [member for member in self._members if not member.done and member._failure is None]

    def _train(self) -> None:
        going = self._going()
        first = min((member._learner.epoch for member in going), default=0)
        behind = [member for member in going if member._learner.epoch == first]
        if not behind:
            return
        learners = [member._learner for member in behind]
        start = time.perf_counter()
        try:
            if self._pack is None or self._pack.learners != learners:
                self._pack = Pack(learners)
            results: list[Any] = self._pack.run_epoch()
        except Exception as error:
            results = [error] * len(behind)
        seconds = (time.perf_counter() - start) / len(behind)
        for member, result in zip(behind, results, strict=True):
            member.take(result, seconds)
