"""Runs on disk or in an object store: opening one, its best model, its data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raysweep.cluster.runs.experiment import EXPERIMENT, read_experiment
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.config import Config
from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage
from raysweep.trainables import LEARNERS
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.trial_files import BEST, load_best
from raysweep.trainables.user.tune_task import TuneTask

__all__ = ["CONFIRM", "SavedRun", "open_run", "read_ledger"]

CONFIRM = "confirm.json"  # test results, and each time that the test set was opened


@dataclass(frozen=True)
class SavedRun:
    """A run that exists.

    Attributes:
        storage: its folder.
        request: what was asked for.
        ledger: its trials.
        fingerprint: of the data that it was made with.
        loaded: those data, if they are in memory.
    """

    storage: Storage
    request: SearchRequest
    ledger: Ledger
    fingerprint: str
    loaded: Dataset | None = None

    @cached_property
    def config_class(self) -> type[Config] | None:
        """The configuration's class; None where the user's code is not at hand."""
        try:
            return self.request.learner.config_class
        except UserError:
            if self.request.task not in LEARNERS:
                return None
            raise

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data; raises UserError if they are not what they were."""
        if self.loaded is not None:
            return self.loaded
        learner = self.request.learner
        dataset = learner.load_data(learner.data_class.create(self.request.data))
        if dataset.fingerprint != self.fingerprint:
            raise UserError(
                f"the data of {self.storage.uri} ({dataset.description}) are not what the run was "
                "made with; bring those back, or start a new run"
            )
        return dataset

    def best_model(self) -> Learner[Any]:
        """The best trial's model at its best epoch; raises UserError where there is none."""
        if issubclass(self.request.learner, TuneTask):
            raise UserError(
                f"{self.request.task} is a function or class of Ray Tune's: what it saved at its "
                f"best is in {self.storage.uri}/best/checkpoint, for your code to load"
            )
        try:
            return load_best(self.request.learner, self.dataset.arrays, self.storage / "best", BEST)
        except FileNotFoundError:
            raise UserError(
                f"{self.storage.uri} has no trained model yet; finish it with the command in its "
                f"{EXPERIMENT}"
            ) from None


def open_run(run: str | None, root: str) -> SavedRun:
    """Opens a run by its folder or URI, or by its name below the root; None opens the newest.

    Raises:
        UserError: there is no such run; the message names the nearest one.
    """
    run = run or _newest(root)
    storage = Storage(run)
    if not storage.exists(EXPERIMENT):
        storage = Storage(root) / run
    if not storage.exists(EXPERIMENT):
        raise UserError(f"no run is called '{run}'{_known(root, run)}")
    experiment = read_experiment(storage)
    names = {f.name for f in dataclasses.fields(SearchRequest)}
    values = {k: v for k, v in experiment["request"].items() if k in names}
    values |= {
        name: tuple(values.get(name, ()))
        for name in (
            *("spaces", "points", "warm_start", "search"),
            *("points_to_evaluate", "objective", "constraint"),
        )
    }
    values["mode"] = values.get("mode") or experiment.get("mode", "")
    request = SearchRequest(
        **values, num_samples=experiment["num_samples"], budget=experiment.get("budget")
    )
    return SavedRun(storage, request, read_ledger(storage, request), experiment["data_fingerprint"])


def read_ledger(storage: Storage, request: SearchRequest) -> Ledger:
    """The run's ledger as it stands, which another process may be writing."""
    return Ledger(
        storage,
        request.metric,
        request.mode,
        read_only=True,
        objectives=request.objectives,
        constraints=request.constraints,
    )


def _newest(root: str) -> str:
    if "://" in root:
        raise UserError(f"name a run of {root}")
    made = {p.parent: p.stat().st_mtime for p in Path(root).glob(f"*/{EXPERIMENT}")}
    if not made:
        raise UserError(f"{root}/ has no runs yet: start one with `raysweep tune`")
    return str(max(made, key=lambda folder: made[folder]))


def _known(root: str, run: str) -> str:
    if "://" in root:
        return f" in {root}"
    names = [p.parent.name for p in Path(root).glob(f"*/{EXPERIMENT}")]
    return nearest(run, names) or f"; {root}/ has no runs yet: start one with `raysweep tune`"
