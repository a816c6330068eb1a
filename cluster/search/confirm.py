"""Confirming a search: the best configurations again, with fresh seeds, on the test set, once.

A search's best validation figure is the luckiest of many; what it is worth shows on other seeds and
on examples that chose nothing. The default configuration goes through the same, beside it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from raysweep.cluster.runs.ledger import TrialRecord
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import CONFIRM, SavedRun
from raysweep.cluster.search.run import SearchResult, run_search
from raysweep.core.errors import UserError
from raysweep.trainables.trial_files import BEST, LAST, load_best, trial_folder
from raysweep.trainables.user.tune_task import TuneTask

__all__ = [
    "Confirmation",
    "confirm_run",
    "mean_interval",
    "measure_seeds",
    "seeds_request",
]

# Far from the seeds that searches are started with.
_FIRST_SEED = 1000


@dataclass(frozen=True)
class Confirmation:
    """What the test set said.

    Attributes:
        rows: one dictionary a configuration: label, trial, config, and for each metric the values
            by seed, their mean and the half-width of the 95% interval.
        metric: the test metric that corresponds to the search's.
        num_openings: how many times the test set of this run was opened, this time included.
        path: the file that all this is written to.
    """

    rows: list[dict[str, Any]]
    metric: str
    num_openings: int
    path: str


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95% interval by Student's t, for values [n], n >= 2."""
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    error = array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * error)


def confirm_run(
    run: SavedRun,
    *,
    top: int,
    num_seeds: int,
    refit: bool = False,
    options: RunOptions | None = None,
) -> Confirmation:
    """Retrains the default and the `top` best configurations with `num_seeds` fresh seeds each.

    Each is measured on the test set at its best epoch by validation; with `refit`, it is trained on
    training and validation data together for as many epochs as were best in the run, and measured
    then. The same call again returns what was written down.

    Raises:
        UserError: the run has no result yet, or the retraining was interrupted.
    """
    candidates = _candidates(run, top)
    configs = [_config(run, candidate, refit) for candidate in candidates]
    request = seeds_request(run.request, configs, num_seeds)
    log = _read_log(run)
    key = request.default_name() + ("-refit" if refit else "")
    if key not in log["results"]:
        folder = run.storage / f"confirm/{key}"
        data = run.dataset.with_validation() if refit else run.dataset
        # After a refit the validation data were trained on: a metric on them says nothing.
        options = dataclasses.replace(options or RunOptions(), pack="off", show_metric=not refit)
        result = run_search(request, folder, options, dataset=data)
        if not result.complete:
            raise UserError("the retraining was interrupted; the same command goes on with it")
        log["results"][key] = _rows(run, candidates, result, num_seeds, refit)
        opening = {
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": " ".join(["raysweep", *sys.argv[1:]]),
            "trials": [t.index for t in candidates],
            "num_seeds": num_seeds,
            "refit": refit,
        }
        if not issubclass(request.learner, TuneTask):
            log["test_set_openings"].append(opening)
        run.storage.write(CONFIRM, json.dumps(log, indent=1))
    return Confirmation(
        rows=log["results"][key],
        metric=_shown_metric(run.request.metric, log["results"][key][0]),
        num_openings=len(log["test_set_openings"]),
        path=f"{run.storage.uri}/{CONFIRM}",
    )


def seeds_request(
    request: SearchRequest, configs: Sequence[Mapping[str, Any]], num_seeds: int
) -> SearchRequest:
    """The request that trains each configuration with so many fresh seeds, one after another."""
    seeds = [_FIRST_SEED + request.seed * 100 + k for k in range(num_seeds)]
    points = [{**config, "seed": s} for config in configs for s in seeds]
    return SearchRequest(
        task=request.task,
        settings=points[0],
        points=tuple(points[1:]),
        data=request.data,
        metric=request.metric,
        mode=request.mode,
        scheduler="none",
        searcher="random",
        num_samples=len(points),
        cpus=request.cpus,
        gpus=request.gpus,
    ).checked()


def _candidates(run: SavedRun, top: int) -> list[TrialRecord]:
    """The default first, where there is one, then the best ones that are not the default."""
    ranked = run.ledger.ranked()
    if not ranked:
        raise UserError(f"{run.storage.uri} has no trial with a result yet")
    if not run.request.has_default:
        return ranked[:top]
    default = run.ledger.trials[0]
    return [default, *[t for t in ranked[:top] if t is not default]]


def _config(run: SavedRun, trial: TrialRecord, refit: bool) -> dict[str, Any]:
    """A refit has no validation data that could say when to stop: the run has said it."""
    best = trial.best(run.request.metric, run.request.mode)
    if not (refit and best):
        return trial.config
    return {**trial.config, "stop_after": best["epoch"], "stop_patience": None}


def _rows(
    run: SavedRun,
    candidates: list[TrialRecord],
    result: SearchResult,
    num_seeds: int,
    refit: bool,
) -> list[dict[str, Any]]:
    rows = []
    for number, candidate in enumerate(candidates):
        trials = result.ledger.trials[number * num_seeds : (number + 1) * num_seeds]
        first = candidate.index == 0 and run.request.has_default
        label = "default" if first else f"trial {candidate.index}"
        row = {"label": label, "trial": candidate.index, "config": candidate.config}
        rows.append({**row, **measure_seeds(run.request, result, run.dataset.test, trials, refit)})
    return rows


def measure_seeds(
    request: SearchRequest,
    result: SearchResult,
    test: Mapping[str, Any],
    trials: Sequence[TrialRecord],
    refit: bool,
) -> dict[str, Any]:
    """Seeds, and for each test and validation metric the values, their mean and 95% interval.

    This opens the test set; whoever calls it writes down that it did.

    Args:
        request: what was trained.
        result: the finished training of one configuration, with several seeds.
        test: `Dataset.test`.
        trials: those of `result` that are of this configuration.
        refit: whether validation data were trained on, so that the last epoch counts.
    """
    measured = [_measure(request, result, test, trial, refit) for trial in trials]
    row: dict[str, Any] = {"seeds": [t.config["seed"] for t in trials]}
    for name in measured[0]:
        values = [m[name] for m in measured]
        mean, half = mean_interval(values)
        row[name] = {"values": values, "mean": mean, "interval_95": half}
    return row


def _measure(
    request: SearchRequest,
    result: SearchResult,
    test: Mapping[str, Any],
    trial: TrialRecord,
    refit: bool,
) -> dict[str, float]:
    """Test metrics, and the validation metrics where they say anything."""
    if trial.best(request.metric, request.mode) is None:
        raise UserError(f"a retraining failed: {trial.error}; nothing was measured")
    if issubclass(request.learner, TuneTask):  # what it measured is all that there is
        best = trial.best(request.metric, request.mode) or {}
        return {k: v for k, v in best.items() if k not in ("epoch", "time_epoch_s")}
    folder = result.storage / trial_folder(trial.index)
    arrays = result.dataset.arrays
    learner = load_best(request.learner, arrays, folder, LAST if refit else BEST)
    best = {} if refit else trial.best(request.metric, request.mode) or {}
    validation = {k: v for k, v in best.items() if k.startswith("val_")}
    return {**validation, **learner.test(test)}


def _shown_metric(metric: str, row: Mapping[str, Any]) -> str:
    """The test metric that corresponds to a validation metric; itself where there is none."""
    test = metric.replace("val_", "test_", 1)
    return test if test in row else metric


def _read_log(run: SavedRun) -> dict[str, Any]:
    try:
        return dict(json.loads(run.storage.read(CONFIRM)))
    except FileNotFoundError:
        return {"test_set_openings": [], "results": {}}
