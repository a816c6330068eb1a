"""Runs looked at from outside: which there are, how they stand, how two differ, their best."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from raysweep.cluster.runs.experiment import EXPERIMENT, read_experiment
from raysweep.cluster.runs.objectives.choice import best_where
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.runs.report import is_complete
from raysweep.cluster.runs.saved_run import SavedRun, open_run, read_ledger
from raysweep.core.differences import differences
from raysweep.core.errors import UserError, nearest
from raysweep.core.locks import is_taken
from raysweep.core.storage import Storage
from raysweep.core.targets import is_target
from raysweep.trainables.registry import known_trainables

__all__ = ["RunRow", "best_config", "list_runs", "read_config", "run_differences", "watch"]

_CONFIG_FIELDS = ("task", "settings", "data")
_QUIET_S = 600.0  # an object store's run without news for so long is called interrupted


@dataclass(frozen=True)
class RunRow:
    """A run in a list.

    Attributes:
        name: its folder's.
        state: running, interrupted, finished, failed (no trial has a result) or unreadable.
        task: what is trained.
        spaces: what is searched, joined by +.
        metric: by which it goes.
        best: of the best trial; None before the first result.
        trials: so far.
        created: when it was started, ISO 8601.
        age_s: seconds since then.
        size: of all its files, in bytes.
    """

    name: str
    state: str
    task: str = ""
    spaces: str = ""
    metric: str = ""
    best: float | None = None
    trials: int = 0
    created: str = ""
    age_s: float = 0.0
    size: int = 0


def list_runs(root: str) -> list[RunRow]:
    """All runs below a folder or an address, the newest first.

    Raises:
        UserError: the folder does not exist.
    """
    storage = Storage(root)
    if storage.local is not None and not storage.local.is_dir():
        raise UserError(f"{root}/ has no runs yet: start one with `raysweep tune`")
    sizes: dict[str, int] = {}
    names = set()
    for name, size in storage.files():
        run, _, rest = name.partition("/")
        sizes[run] = sizes.get(run, 0) + size
        if rest == EXPERIMENT:
            names.add(run)
    rows = [_row(storage / name, sizes[name]) for name in names]
    return sorted(rows, key=lambda row: (row.created, row.name), reverse=True)


def _row(storage: Storage, size: int) -> RunRow:
    name = storage.name
    try:
        run = open_run(storage.uri, "")
        created = str(read_experiment(storage).get("created", ""))
    except (UserError, KeyError, TypeError):
        return RunRow(name, "unreadable", size=size)
    ranked = run.ledger.ranked()
    best = ranked[0].best(run.request.metric, run.request.mode) if ranked else None
    began = datetime.fromisoformat(created) if created else datetime.now(timezone.utc)
    return RunRow(
        name=name,
        state=state(run),
        task=run.request.task,
        spaces="+".join([*run.request.spaces, *run.request.search]),
        metric=run.request.metric,
        best=None if best is None else float(best[run.request.metric]),
        trials=len(run.ledger),
        created=created,
        age_s=(datetime.now(timezone.utc) - began).total_seconds(),
        size=size,
    )


def state(run: SavedRun) -> str:
    """running, interrupted, finished, or failed where no trial came to a result."""
    if is_complete(run):
        return "finished" if run.ledger.ranked() or not len(run.ledger) else "failed"
    if run.storage.local is not None:
        return "running" if is_taken(run.storage) else "interrupted"
    modified = run.storage.modified("ledger.jsonl")
    return "running" if modified and time.time() - modified < _QUIET_S else "interrupted"


def run_differences(first: SavedRun, second: SavedRun) -> dict[str, list[str]]:
    """What differs between two runs, by kind: request, made with, result, best configuration."""
    return {
        "request": _between(*(read_experiment(r.storage)["request"] for r in (first, second))),
        "made with": _between(_made_with(first), _made_with(second)),
        "result": _between(_result(first), _result(second)),
        "best configuration": _between(_best_fields(first), _best_fields(second)),
    }


def _between(first: Any, second: Any) -> list[str]:
    """Lines such as `seed: 0 → 1`, those of equal values left out."""
    lines = differences(_short(first), _short(second))
    return [line.replace(" there, ", " → ").removesuffix(" now") for line in lines]


def _short(value: Any) -> Any:
    """The same with six digits of each fraction, which people can read."""
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _made_with(run: SavedRun) -> dict[str, Any]:
    experiment = read_experiment(run.storage)
    names = ("num_samples", "data_fingerprint", "data_description", "git_commit", "python")
    return {name: experiment.get(name) for name in (*names, "versions")}


def _result(run: SavedRun) -> dict[str, Any]:
    ranked, metric = run.ledger.ranked(), run.request.metric
    best = (ranked[0].best(metric, run.request.mode) if ranked else None) or {}
    return {"state": state(run), "trials": len(run.ledger), f"best {metric}": best.get(metric)}


def _best_fields(run: SavedRun) -> dict[str, Any]:
    ranked = run.ledger.ranked()
    return ranked[0].config if ranked else {}


def best_config(run: SavedRun, where: Sequence[str] = ()) -> str:
    """The best trial's configuration as YAML, which `raysweep train --config` takes.

    Args:
        run: any run.
        where: limits that the trial has to keep to; see `best_where`.

    Raises:
        UserError: no trial has a result yet, or none keeps to the limits.
    """
    trial = best_where(run, where)
    best = trial.best(run.request.metric, run.request.mode) or {}
    value = best[run.request.metric]
    head = (
        f"# The best trial ({trial.index}) of {run.storage.uri}: "
        f"{run.request.metric} {value:.4f} after epoch {best['epoch']}.\n"
        "# raysweep train --config THIS_FILE\n"
    )
    values = {"task": run.request.task, "settings": trial.config, "data": run.request.data}
    return head + yaml.safe_dump({k: _plain(v) for k, v in values.items()}, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def read_config(path: str) -> dict[str, Any]:
    """Reads what `best_config` wrote: task, settings and data.

    Raises:
        UserError: the file is not there, is no YAML, or has other entries.
    """
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(
            f"--config {path}: no such file; `raysweep best RUN --export config` prints one"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or "task" not in config:
        raise UserError(
            f"--config {path} names no task; it needs `task: NAME` and `settings:` with fields, "
            "as `raysweep best RUN --export config` prints them"
        )
    for name in config:
        if name not in _CONFIG_FIELDS:
            raise UserError(f"--config {path}: '{name}'{nearest(str(name), _CONFIG_FIELDS)}")
    known = known_trainables()
    if config["task"] not in known and not is_target(str(config["task"])):
        raise UserError(f"--config {path}: task{nearest(str(config['task']), known)}")
    for name in ("settings", "data"):
        if not isinstance(config.setdefault(name, {}) or {}, dict):
            raise UserError(f"--config {path}: {name} is not a table of fields and values")
        config[name] = config[name] or {}
    return dict(config)


def watch(run: SavedRun, period: float, *, quiet: bool = False) -> Iterator[SavedRun]:
    """Follows a run, also one that another machine writes to an object store.

    Args:
        run: as it was opened.
        period: seconds between two looks.
        quiet: no progress line.

    Yields:
        The run after each look, while its progress line is shown; the last one is over or was
        interrupted.
    """
    progress = Progress(run.request.num_samples, epochs=run.request.max_epochs, quiet=quiet)
    try:
        while True:
            progress.update(run.ledger)
            yield run
            if state(run) != "running":
                return
            time.sleep(period)
            request = run.request
            ledger = read_ledger(run.storage, request)
            run = SavedRun(run.storage, request, ledger, run.fingerprint)
    finally:
        progress.close()
