"""experiment.yaml: the request, the data's fingerprint and what a run was made with."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.differences import differences
from raysweep.core.errors import UserError
from raysweep.core.plugins import find_plugin
from raysweep.core.storage import Storage
from raysweep.core.targets import is_target, source_hash
from raysweep.search_spaces import SPACES
from raysweep.trainables import LEARNERS

__all__ = ["EXPERIMENT", "package_versions", "read_experiment", "write_experiment"]

EXPERIMENT = "experiment.yaml"
_PACKAGES = ("raysweep", "ray", "torch", "numpy", "pandas", "pyarrow", "optuna", "tensorboard")


def write_experiment(
    storage: Storage,
    request: SearchRequest,
    fingerprint: str,
    description: str,
    warm_start: Sequence[Mapping[str, Any]] = (),
    *,
    changed_code: bool = False,
) -> None:
    """Writes the request, or compares it with the one that the run was started with.

    Args:
        storage: the run's folder.
        request: what to search.
        fingerprint: of the data.
        description: of the data, for people.
        warm_start: results of earlier runs; kept in a new run, to resume from the same ones.
        changed_code: whether a run may go on with other source code of the user's trainable.

    Raises:
        UserError: the run exists and was asked for differently; the message shows the difference.
    """
    mine: dict[str, Any] = {"request": request.identity(), "data_fingerprint": fingerprint}
    if (code := _code_version(request)) is not None:
        mine["source_hash"] = code
    if storage.exists(EXPERIMENT):
        theirs = read_experiment(storage)
        with contextlib.suppress(UserError):  # A run from before a field was there has its default.
            known = request.learner.config_class.create(theirs["request"]["settings"])
            theirs["request"]["settings"] = known.to_dict()
        lines = differences(theirs["request"], mine["request"])
        if theirs["data_fingerprint"] != fingerprint:
            lines.append("the data themselves (their contents or the split) changed")
        if theirs.get("source_hash") != mine.get("source_hash") and not changed_code:
            lines.append(
                f"the code of {request.task} changed; --changed-code goes on with it all the same"
            )
        if lines:
            raise UserError(
                f"the run {storage.uri} was started with a different request:\n  "
                + "\n  ".join(lines)
                + "\nRepeat that request to resume it, or give this one another --name"
            )
        larger = {
            name: size
            for name in ("num_samples", "budget")
            if (size := getattr(request, name)) and (theirs.get(name) or 0) < size
        }
        if larger:
            _write(storage, {**theirs, **larger})
        return
    record: dict[str, Any] = {
        **mine,
        "mode": request.mode,
        "num_samples": request.num_samples,
        **({"budget": request.budget} if request.budget else {}),
        "data_description": description,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["raysweep", *sys.argv[1:]]),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "versions": package_versions(),
    }
    if warm_start:
        record["warm_start"] = list(warm_start)
    _write(storage, record)


def _code_version(request: SearchRequest) -> str | None:
    """What changes with the user's or a package's code that the run uses; None for ours alone."""
    names = (request.task, *request.spaces)
    targets = [name for name in names if is_target(name)]
    named = [("trainable", request.task)] if request.task not in LEARNERS else []
    named += [("space", name) for name in request.spaces if name not in SPACES]
    plugins = [find_plugin(kind, name) for kind, name in named if not is_target(name)]
    parts = [source_hash(*targets)] if targets else []
    parts += [source_hash(each.target) or each.origin for each in plugins if each is not None]
    return "+".join(parts) if parts else None


def _write(storage: Storage, record: Mapping[str, Any]) -> None:
    storage.write(EXPERIMENT, yaml.safe_dump(dict(record), sort_keys=False))


def read_experiment(storage: Storage) -> dict[str, Any]:
    """The run's experiment.yaml; raises UserError if the folder is not a run."""
    try:
        return dict(yaml.safe_load(storage.read(EXPERIMENT)))
    except FileNotFoundError:
        raise UserError(
            f"{storage.uri} is not a run (it has no {EXPERIMENT}); `ls runs` shows yours"
        ) from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"{storage.uri}/{EXPERIMENT} is not readable: {error}") from None


def _git_commit() -> str | None:
    root = Path(__file__).resolve().parent
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return out.stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of what results depend on, by package, as far as it is installed."""
    return {p: v for p in _PACKAGES if (v := _version(p))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
