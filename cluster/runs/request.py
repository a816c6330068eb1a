"""What was asked for: a search's whole request, checked before Ray starts, written into the run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from raysweep.core.differences import differences
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.search_spaces import Suggest, combine, get_space, sample
from raysweep.trainables import get_learner
from raysweep.trainables.learner import Learner, check_metric

__all__ = [
    "EXPERIMENT",
    "SCHEDULERS",
    "SEARCHERS",
    "SearchRequest",
    "changeable",
    "package_versions",
    "read_experiment",
    "write_experiment",
]

EXPERIMENT = "experiment.yaml"
SEARCHERS = ("tpe", "random", "grid")
SCHEDULERS = ("asha", "hyperband", "median", "pbt", "none")
# Points of a space that are checked against the data; a choice among two shows among them.
_CHECKED_POINTS = 20
_PACKAGES = ("raysweep", "ray", "torch", "numpy", "pandas", "pyarrow", "optuna", "tensorboard")


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """One search.

    Attributes:
        task: the trainable's name.
        spaces: the names of the spaces searched together; empty to train one configuration.
        settings: configuration fields that are fixed, by name (`--set`, `--epochs`).
        data: fields of the trainable's data configuration.
        searcher, scheduler: by name.
        num_samples: trials in all, the default configuration among them; None for a whole grid.
        metric: what trials are judged by; the trainable's own by default.
        seed: of the searcher and, unless set, of the training.
        cpus, gpus: of one trial.
        grace_period, reduction_factor: of ASHA and HyperBand; epochs before the first comparison,
            and one in how many goes on.
        warm_start: earlier runs, by name or folder, whose results the search starts from.
        points: configurations to run instead of a search (`confirm` uses it).
    """

    task: str
    spaces: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    searcher: str = "tpe"
    scheduler: str = "asha"
    num_samples: int | None = 40
    metric: str = ""
    seed: int = 0
    cpus: float = 1
    gpus: float = 0
    grace_period: int = 0
    reduction_factor: float = 3
    warm_start: tuple[str, ...] = ()
    points: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        limits = {"num_samples": 1, "cpus": 0.01, "gpus": 0, "seed": 0, "grace_period": 0}
        for name, low in {**limits, "reduction_factor": 1.5}.items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise UserError(f"--{name.replace('_', '-')} {value} is too small; at least {low}")
        for name, known in (("searcher", SEARCHERS), ("scheduler", SCHEDULERS)):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} {getattr(self, name)}: use one of {', '.join(known)}")

    @property
    def learner(self) -> type[Learner[Any]]:
        """The trainable's class."""
        return get_learner(self.task)

    @property
    def mode(self) -> str:
        """Whether the metric is to be small ("min") or large ("max")."""
        return self.learner.metrics[self.metric]

    def checked(self) -> SearchRequest:
        """The same with every default filled in; refuses what is wrong, before Ray starts.

        Raises:
            UserError: an unknown name, a value out of range, a test metric, clashing spaces.
        """
        learner = self.learner
        if self.num_samples is None and self.spaces and self.searcher != "grid":
            raise UserError(f"--searcher {self.searcher} has no end of its own; give --num-samples")
        if self.warm_start and self.searcher == "grid":
            raise UserError(
                "--warm-start is for searches that can learn, and a grid is fixed; use --searcher "
                "tpe, or leave --warm-start out"
            )
        metric = check_metric(learner, self.metric or next(iter(learner.metrics)))
        base = learner.config_class.create({"seed": self.seed, **self.settings})
        data = learner.data_class.create(self.data)
        grace = self.grace_period or max(1, base.epochs // 4)
        request = dataclasses.replace(
            self,
            metric=metric,
            settings=base.to_dict(),
            data=data.to_dict(),
            grace_period=grace,
            spaces=tuple(self.spaces),
        )
        learner.check(base, data)
        if self.spaces:
            suggest = request.suggest()
            fields = sample(suggest, 0)[1]
            clash = sorted(set(fields) & set(self.settings))
            if clash:
                raise UserError(
                    f"--set {clash[0]}={self.settings[clash[0]]} fixes a field that the space "
                    "searches; leave one of them out"
                )
            if self.scheduler == "pbt" and not changeable(fields):
                raise UserError(
                    "--scheduler pbt changes learning_rate and L2 fields in mid-run, and the space "
                    "has none; search `optimizer` or `l2`, or use --scheduler asha"
                )
            for number in range(_CHECKED_POINTS):
                learner.check(request.config(sample(suggest, number)[1]), data)
        return request

    def suggest(self) -> Suggest:
        """The define-by-run function of all spaces together."""
        config = self.config({})
        return combine([get_space(s).bind(self.task, config) for s in self.spaces])

    def config(self, fields: Mapping[str, Any]) -> Any:
        """The whole configuration where a searcher chose `fields`."""
        return self.learner.config_class.create({**self.settings, **fields})

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Every field of `config(fields)`, by name."""
        return dict(self.config(fields).to_dict())

    def identity(self) -> dict[str, Any]:
        """What makes two requests the same search; a larger num_samples extends it."""
        plain = json.loads(json.dumps(dataclasses.asdict(self), default=list))
        del plain["num_samples"]
        if not self.warm_start:
            del plain["warm_start"]
        return dict(plain)

    def default_name(self) -> str:
        """A name that equal requests share, and others do not."""
        text = json.dumps(self.identity(), sort_keys=True)
        what = "+".join(self.spaces) or "train"
        return f"{self.task}-{what}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def changeable(fields: Iterable[str]) -> list[str]:
    """Those fields that a model in training can change: its learning rate and its penalties."""
    return [name for name in fields if name == "learning_rate" or name.endswith("_l2")]


def write_experiment(
    storage: Storage,
    request: SearchRequest,
    fingerprint: str,
    description: str,
    warm_start: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes the request, or compares it with the one that the run was started with.

    Args:
        storage: the run's folder.
        request: what to search.
        fingerprint: of the data.
        description: of the data, for people.
        warm_start: results of earlier runs; kept in a new run, to resume from the same ones.

    Raises:
        UserError: the run exists and was asked for differently; the message shows the difference.
    """
    mine = {"request": request.identity(), "data_fingerprint": fingerprint}
    if storage.exists(EXPERIMENT):
        theirs = read_experiment(storage)
        lines = differences(theirs["request"], mine["request"])
        if theirs["data_fingerprint"] != fingerprint:
            lines.append("the data themselves (their contents or the split) changed")
        if lines:
            raise UserError(
                f"the run {storage.uri} was started with a different request:\n  "
                + "\n  ".join(lines)
                + "\nRepeat that request to resume it, or give this one another --name"
            )
        if (theirs["num_samples"] or 0) < (request.num_samples or 0):
            _write(storage, {**theirs, "num_samples": request.num_samples})
        return
    record: dict[str, Any] = {
        **mine,
        "num_samples": request.num_samples,
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
