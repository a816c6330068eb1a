"""The public interface; everything else may change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from raysweep.analysis.report.trials import Trials
    from raysweep.cluster.runs.saved_run import SavedRun

Space = str | Mapping[str, Any] | Callable[..., Any]

__all__ = ["Run", "check", "load_run", "predict", "train", "tune"]


def tune(
    task: str | Callable[..., Any],
    spaces: Space | Sequence[Space] = (),
    *,
    search: str | Sequence[str] = (),
    num_samples: int | None = None,
    budget: float | None = None,
    until: float | None = None,
    searcher: str = "tpe",
    deterministic: bool = False,
    scheduler: str = "asha",
    metric: str = "",
    mode: str = "",
    objective: str | Sequence[str] = (),
    constraint: str | Sequence[str] = (),
    grace_period: int = 0,
    reduction_factor: float = 3,
    warm_start: str | Sequence[str] = (),
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    dataset: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
    cpus: float = 1,
    gpus: float = 0,
    workers: int = 1,
    pack: str | int = "auto",
    max_concurrent: int | None = None,
    points_to_evaluate: Sequence[Mapping[str, Any]] = (),
    target: float | None = None,
    patience: int | None = None,
    time_budget: float | None = None,
    name: str | None = None,
    storage: str | os.PathLike[str] = "runs",
    address: str | None = None,
    changed_code: bool = False,
    callbacks: Sequence[Any] = (),
    quiet: bool = True,
) -> Run:
    """Searches; resumes or extends the run that these arguments name. See `raysweep tune --help`.

    Args:
        task: what to train, e.g. "sentiment" (`raysweep list` shows all); or a model of yours, the
            object itself or "file.py:Name" or "package.module:Name": a `Learner`, a function that
            calls `ray.tune.report`, or a `ray.tune.Trainable`.
        spaces: what to search: the name of a space, a dictionary of Ray Tune's domains, or a
            function that asks an Optuna trial; or several of these.
        search: ranges of fields, e.g. "learning_rate=1e-4..1e-2:log", beside spaces or alone.
        num_samples: trials in all, the default configuration among them; 40 by default, for a grid
            all of it.
        budget: for `searcher="curves"`, epochs of all trials together, in whole trainings.
        until: for it, the improvement below which it ends, expected of a tenth of the budget.
        searcher: "tpe", "curves", "random" or "grid".
        deterministic: for `searcher="curves"`, whether it decides as if four trials trained at a
            time, so that the table is the same for any number of workers.
        scheduler: "asha", "hyperband", "median", "pbt" or "none".
        metric: validation metric to choose by; the trainable's own by default.
        mode: "min" or "max", for a metric that a function of yours reports.
        objective: what to judge by in place of the metric: "NAME", "NAME:min" or "NAME:max", or
            several, of which `Run.pareto` has the front.
        constraint: what every trial has to keep to, e.g. "num_parameters<=2e6", or several.
        grace_period: epochs before the first comparison; see `raysweep tune --help`.
        reduction_factor: one trial in so many goes on at a rung.
        warm_start: earlier runs, by name or folder, whose results the search starts from.
        epochs: passes over the training set.
        settings: configuration fields that are fixed, by name.
        dataset: a known dataset, or your file or folder.
        data_dir: folder with your copy of the data; $RAYSWEEP_DATA by default.
        split: "random"; or "time" (ratings), "films" (imdb).
        data: further fields of the data's configuration, by name.
        seed: of searcher and training.
        cpus: cores of one trial.
        gpus: GPUs of one trial; 0.5 for half a one.
        workers: processes that train each trial together, each with these cpus and gpus.
        pack: how many trials train in one process: "auto", "off" or a number.
        max_concurrent: trials at a time; as many as fit by default.
        points_to_evaluate: fields of configurations of yours, tried right after the default.
        target: a value of the metric that is good enough: reaching it ends the search.
        patience: trials in a row that may bring nothing better before the search ends.
        time_budget: seconds after which to pause; the same call goes on.
        name: the run's; equal requests share one by default.
        storage: folder of all runs, or an address such as s3://bucket/folder.
        address: a Ray cluster's; this machine alone by default.
        changed_code: go on with a run although the code of your trainable has changed since.
        callbacks: Ray Tune's callbacks (`ray.tune.Callback`) of yours; one that fails is left out.
        quiet: no progress line.

    Returns:
        The run, which `Run.complete` says is over or not.

    Raises:
        UserError: what you can fix: a name, a value, missing data, another request of that name.
    """
    given = locals()
    if not spaces and not search:
        raise UserError("name a space or a range to search; `raysweep.train` trains one model")
    return _start(given)


def train(
    task: str | Callable[..., Any],
    *,
    metric: str = "",
    mode: str = "",
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    dataset: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
    cpus: float = 1,
    gpus: float = 0,
    workers: int = 1,
    name: str | None = None,
    storage: str | os.PathLike[str] = "runs",
    address: str | None = None,
    changed_code: bool = False,
    quiet: bool = True,
) -> Run:
    """Trains one configuration, or goes on with it. See `raysweep train --help`.

    Args:
        task: what to train, as of `tune`.
        metric: validation metric whose best epoch counts; the trainable's own by default.
        mode: "min" or "max", for a metric that a function of yours reports.
        epochs: passes over the training set.
        settings: configuration fields, by name; `Run.best_config` has those of a search's best.
        dataset: a known dataset, or your file or folder.
        data_dir: folder with your copy of the data; $RAYSWEEP_DATA by default.
        split: "random"; or "time" (ratings), "films" (imdb).
        data: further fields of the data's configuration, by name.
        seed: of the training.
        cpus: cores of one worker.
        gpus: GPUs of one worker; 0.5 for half a one.
        workers: processes that train the model together, with the result of one.
        name: the run's; equal requests share one by default.
        storage: folder of all runs, or an address such as s3://bucket/folder.
        address: a Ray cluster's; this machine alone by default.
        changed_code: go on with a run although the code of your trainable has changed since.
        quiet: no progress line.

    Returns:
        The run, of one trial.

    Raises:
        UserError: as of `tune`.
    """
    return _start(locals())


def _start(given: Mapping[str, Any]) -> Run:
    from raysweep.cluster.runs.options import read_options
    from raysweep.cluster.search.run import start

    request, options = read_options(given)
    return Run(start(request, options).as_run(request))


def check(
    task: str | Callable[..., Any],
    *,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    dataset: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    data: Mapping[str, Any] | None = None,
    gpus: float = 0,
    quiet: bool = True,
) -> pd.DataFrame:
    """Proves on a model what raysweep promises for it. See `raysweep check --help`.

    Args:
        task: what to check, as of `train`.
        epochs: passes over the training set that a training would take; only its schedule counts.
        settings: configuration fields, by name.
        dataset: a known dataset, or your file or folder.
        data_dir: folder with your copy of the data; $RAYSWEEP_DATA by default.
        split: "random"; or "time" (ratings), "films" (imdb).
        data: further fields of the data's configuration, by name.
        gpus: 0 for the CPU; otherwise on a GPU, where numbers are equal up to rounding only.
        quiet: no progress line.

    Returns:
        A row for each check, in order: check, result ("passed", "failed", "not applicable" or
        "not tried"), detail, fix (what to change; empty unless it failed), seconds.

    Raises:
        UserError: what keeps it from being checked at all: a name, a value, missing data.
    """
    import pandas as pd

    given = {name: value for name, value in locals().items() if name != "pd"}
    from raysweep.cluster.check.runner import CHECKS, check_request, run_checks
    from raysweep.core.progress_line import progress_line

    request = check_request(given)
    with progress_line(f"checking {request.task}", len(CHECKS), shown=not quiet) as progress:
        lines = run_checks(request, progress)
    names = ["check", "result", "detail", "fix", "seconds"]
    rows = [(n.name, n.outcome.status, n.outcome.detail, n.outcome.fix, n.seconds) for n in lines]
    return pd.DataFrame(rows, columns=names)


def load_run(run: str | None = None, *, storage: str | os.PathLike[str] = "runs") -> Run:
    """Opens a run by its name, folder or address; None for the newest. Ray is not started.

    Raises:
        UserError: there is none; the message names the nearest one.
    """
    from raysweep.cluster.runs.saved_run import open_run

    return Run(open_run(run, str(storage)))


def predict(run: Run, inputs: Iterable[Any]) -> pd.DataFrame:
    """Asks a run's best model; a row for each input, in order.

    Args:
        run: as `tune` or `load_run` gives it.
        inputs: for sentiment, texts; for a ratings model, pairs of a user's and an item's id; for
            image_head, paths of images; for a model of yours what its method `predict` takes, which
            for a TensorLearner is rows of numbers, or .csv and .npy files of such.

    Returns:
        Texts and images: source, predicted, and the probability of each class as `p_CLASS`; an
        image that was not read has a `reason`. Ratings: user, item, title, predicted, given (none
        where the user did not rate the item).

    Raises:
        UserError: an input of another kind, an unknown id, a run without a trained model.
    """
    from raysweep.cluster.models.predict import predict_inputs

    given = [inputs] if isinstance(inputs, str) else list(inputs)
    if not given:
        raise UserError("nothing to predict: the inputs are empty")
    return predict_inputs(run.saved, given)


@dataclass(frozen=True)
class Run:
    """A run, finished or not, as it was when it was opened.

    Attributes:
        saved: what the commands work with; not part of the public interface.
    """

    saved: SavedRun

    def __repr__(self) -> str:
        return f"Run({self.folder!r}, {len(self.saved.ledger)} trials)"

    @property
    def folder(self) -> str:
        """Its folder or address."""
        return self.saved.storage.uri

    @property
    def complete(self) -> bool:
        """Whether every trial that was asked for is over."""
        from raysweep.cluster.runs.report import is_complete

        return is_complete(self.saved)

    @property
    def metric(self) -> str:
        """The validation metric that trials are judged by."""
        return self.saved.request.metric

    @cached_property
    def _trials(self) -> Trials:
        from raysweep.cluster.runs.report import run_trials

        return run_trials(self.saved)

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial: status, epochs, best and last metrics, time in seconds, every field.

        As `trials.parquet` has it; docs/report.md describes the columns.
        """
        return self._trials.table.copy()

    @property
    def curves(self) -> pd.DataFrame:
        """A row an epoch of a trial: trial, epoch and every metric of that epoch."""
        import pandas as pd

        rows = [{"trial": t.index, **r} for t in self.saved.ledger for r in t.history]
        return pd.DataFrame(rows, columns=None if rows else ["trial", "epoch"])

    @property
    def best(self) -> pd.Series[Any]:
        """The best trial's row of `trials`; raises UserError before the first result."""
        if self._trials.best is None:
            raise UserError(f"{self.folder} has no trial with a result yet")
        return self.trials.iloc[self._trials.best]

    @property
    def best_config(self) -> dict[str, Any]:
        """The best trial's whole configuration; raises UserError before the first result."""
        if self._trials.best is None:
            raise UserError(f"{self.folder} has no trial with a result yet")
        return dict(self._trials.configs[self._trials.best])

    @property
    def pareto(self) -> pd.DataFrame:
        """The rows of `trials` that no other one beats in every objective.

        In order of the first objective, the best first. With one metric alone, the best trial.
        """
        from raysweep.cluster.runs.objectives.choice import pareto_front

        front = [trial.index for trial in pareto_front(self.saved.ledger)]
        return self.trials.set_index("trial", drop=False).loc[front].reset_index(drop=True)

    def effects(self) -> pd.DataFrame:
        """What each searched field did, the most important one first.

        Columns: field, verdict, sentence, value, reference, gain (how much better the metric is
        than at the reference, other fields averaged over), half_width_95 (simultaneous over the
        field's values). A row for each value of each field; none before 12 trials have a result.
        """
        import pandas as pd

        from raysweep.analysis.effects.sentences import effect_sentence

        names = ["field", "verdict", "sentence", "value", "reference", "gain", "half_width_95"]
        rows = [
            (e.field, e.verdict, effect_sentence(e, self.metric), value, e.reference, gain, half)
            for e in self._trials.effects
            for value, gain, half in zip(e.grid, e.gain, e.half_width, strict=True)
        ]
        return pd.DataFrame(rows, columns=names)

    def confirm(self, *, top: int = 1, num_seeds: int = 5, refit: bool = False,
                address: str | None = None, quiet: bool = True) -> pd.DataFrame:  # fmt: skip
        """Retrains the default and the best with fresh seeds, and opens the test set, once.

        That it was opened is written into the run; the same call again trains nothing.

        Returns:
            A row for each configuration, metric and seed: configuration, seed, metric, value.
        """
        import pandas as pd

        from raysweep.cluster.runs.options import RunOptions
        from raysweep.cluster.search.confirm import confirm_run

        confirmation = confirm_run(
            self.saved,
            top=top,
            num_seeds=num_seeds,
            refit=refit,
            options=RunOptions(address=address, quiet=quiet),
        )
        rows = [
            {"configuration": row["label"], "seed": seed, "metric": name, "value": value}
            for row in confirmation.rows
            for name, figure in row.items()
            if isinstance(figure, dict) and "values" in figure
            for seed, value in zip(row["seeds"], figure["values"], strict=True)
        ]
        return pd.DataFrame(rows)

    def report(self, folder: str | os.PathLike[str] | None = None) -> str:
        """Writes the report; returns the address of its page. See `raysweep report`."""
        from raysweep.cluster.runs.report import write_report
        from raysweep.cluster.search.curves.seen import predicted_finals
        from raysweep.core.storage import Storage

        to = None if folder is None else Storage(folder)
        return write_report([self.saved], to, finals=predicted_finals)
