"""What was asked for: a search's whole request, checked before Ray starts."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.searcher_checks import check_curves, check_until, default_grace
from raysweep.core.config import option
from raysweep.core.errors import UserError
from raysweep.core.free_config import flatten
from raysweep.core.objectives import Constraint, Objective, parse_constraint, parse_objective
from raysweep.core.targets import is_target
from raysweep.trainables import get_learner

if TYPE_CHECKING:
    from raysweep.search_spaces import Suggest
    from raysweep.trainables.learner import Learner

__all__ = ["SCHEDULERS", "SEARCHERS", "SearchRequest", "changeable", "check_limits"]

SEARCHERS = ("tpe", "curves", "random", "grid")
SCHEDULERS = ("asha", "hyperband", "median", "pbt", "none")
_ENDS = ("grid", "curves")  # searchers that end without a number of trials
_DEFAULT_BUDGET = 10.0
_FOR_SEVERAL = ("asha", "none")  # schedulers that can judge by several objectives
# Points of a space that are checked against the data; a choice among two shows among them.
_CHECKED_POINTS = 20


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """One search. The command line shows the meanings of its fields, and makes its options of them.

    Attributes:
        task: the trainable's name.
        spaces: the names of the spaces searched together.
        settings: configuration fields that are fixed, by name (`--set`, `--epochs`).
        data: fields of the trainable's data configuration.
        points_to_evaluate: fields of configurations that are tried first, after the default.
        points: configurations to run instead of a search (`confirm` uses it).
    """

    task: str
    spaces: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    searcher: str = option("tpe", "tpe, curves, random or grid.", choices=SEARCHERS)
    scheduler: str = option("asha", "asha, hyperband, median, pbt or none.", choices=SCHEDULERS)
    num_samples: int | None = option(
        40,
        "Trials in all, the default configuration among them; a larger number extends an earlier "
        "search. 40 by default, for grid all.",
        low=1,
    )
    budget: float | None = option(
        None,
        "With --searcher curves: epochs of all trials together, in whole trainings; a larger one "
        "extends an earlier search. 10 by default, or a quarter of --num-samples.",
        low=1,
    )
    deterministic: bool = option(
        False,
        "With --searcher curves: decides as if four trials trained at a time, whatever the "
        "machine; the table is then the same for any number of workers.",
    )
    until: float | None = option(
        None,
        "With --searcher curves: ends the search when the next tenth of its budget is expected to "
        "improve the metric by less than this.",
    )
    metric: str = option("", "Validation metric to choose by; the trainable's own by default.")
    mode: str = option(
        "",
        "min or max: which values of the metric are good. A model of yours as a function needs it "
        "where the metric's name does not say; others know.",
        choices=("", "min", "max"),
    )
    seed: int = option(0, "Seeds searcher and training.", low=0)
    cpus: float = option(1, "CPU cores of one trial.", low=0.01)
    gpus: float = option(0, "GPUs of one trial; 0.5 for half a one.", low=0)
    grace_period: int = option(
        0,
        "Epochs before the first comparison; by default a sixteenth of all for ASHA, but at least "
        "three or a quarter, and a quarter for other schedulers.",
        low=0,
    )
    reduction_factor: float = option(3, "One trial in so many goes on at a rung.", low=1.5)
    warm_start: tuple[str, ...] = option(
        (), "An earlier run whose results the search starts from. Repeatable."
    )
    search: tuple[str, ...] = option(
        (), "A range of a field, e.g. learning_rate=1e-4..1e-1:log. Repeatable; see the docs."
    )
    points_to_evaluate: tuple[Mapping[str, Any], ...] = option(
        (), "A configuration of yours to try right after the default. Repeatable."
    )
    objective: tuple[str, ...] = option(
        (),
        "What to judge by in place of --metric: NAME, NAME:min or NAME:max, a validation metric "
        "first. Repeatable: several give a Pareto front.",
    )
    constraint: tuple[str, ...] = option(
        (), 'What every trial has to keep to, e.g. "num_parameters<=2e6". Repeatable.'
    )
    points: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_limits(self)
        if self.metric and not self.mode:
            with contextlib.suppress(UserError):  # of a name that `checked` refuses
                mode = self.learner.metrics.get(self.metric, "")
                object.__setattr__(self, "mode", mode)

    @property
    def learner(self) -> type[Learner[Any]]:
        """The trainable's class."""
        return get_learner(self.task)

    @property
    def searches(self) -> bool:
        """Whether anything is searched; otherwise one configuration is trained."""
        return bool(self.spaces or self.search)

    @property
    def has_default(self) -> bool:
        """Whether trial 0 has the default configuration; a function that is searched has none."""
        from raysweep.trainables.user.tune_task import TuneTask

        return not (self.searches and issubclass(self.learner, TuneTask))

    @property
    def max_epochs(self) -> float | None:
        """Epochs that all trials may have together; None where no budget ends the search."""
        return None if self.budget is None else self.budget * float(self.settings["epochs"])

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What trials are judged by, the metric first; of a request that was `checked`."""
        named = tuple(Objective(*parse_objective(text)) for text in self.objective)
        return named or (Objective(self.metric, self.mode),)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What every trial has to keep to."""
        return tuple(parse_constraint(text) for text in self.constraint)

    def checked(self) -> SearchRequest:
        """The same with every default filled in; refuses what is wrong, before Ray starts.

        Raises:
            UserError: an unknown name, a value out of range, a test metric, clashing spaces.
        """
        from raysweep.cluster.runs.objectives.goals import check_goals
        from raysweep.search_spaces import sample
        from raysweep.trainables.learner import check_metric
        from raysweep.trainables.user.tune_task import TuneTask

        learner = self.learner
        if self.num_samples is None and self.searches and self.searcher not in _ENDS:
            raise UserError(f"--searcher {self.searcher} has no end of its own; give --num-samples")
        if self.warm_start and self.searcher == "grid":
            raise UserError(
                "--warm-start is for searches that can learn, and a grid is fixed; use --searcher "
                "tpe, or leave --warm-start out"
            )
        metric, mode, objective, constraint = check_goals(
            learner, (self.metric, self.mode), self.objective, self.constraint
        )
        if objective and self.scheduler not in _FOR_SEVERAL and self.searches:
            raise UserError(
                f"--scheduler {self.scheduler} judges by one number, and there are "
                f"{len(objective)} objectives; use --scheduler asha or none"
            )
        if issubclass(learner, TuneTask):
            metric, mode = _reported_metric(learner, metric, mode)
        else:
            metric = check_metric(learner, metric or next(iter(learner.metrics)))
            mode = learner.metrics[metric]
            if self.mode not in ("", mode):
                raise UserError(
                    f"--mode {self.mode}: {learner.name}'s {metric} is good at its {mode}"
                )
        base = learner.config_class.read({"seed": self.seed, **self.settings})
        data = learner.data_class.create(self.data)
        if base.epochs is None and self.searches and self.scheduler == "hyperband":
            raise UserError(
                "--scheduler hyperband plans with the number of reports that a trial makes; give "
                "it by --epochs, or use --scheduler asha"
            )
        budget = self.budget
        if self.searches and self.searcher == "curves":
            check_curves(self, base, objective)
            budget = budget or (self.num_samples / 4 if self.num_samples else _DEFAULT_BUDGET)
        elif budget is not None:
            raise UserError("--budget is for --searcher curves; others take --num-samples")
        elif self.deterministic:
            raise UserError(
                "--deterministic is for --searcher curves; random and grid give the same table for "
                "any number of workers without it, and tpe with --max-concurrent 1"
            )
        check_until(self)
        grace = self.grace_period or default_grace(self, base.epochs or 1)
        request = dataclasses.replace(
            self,
            metric=metric,
            mode=mode,
            settings=base.to_dict(),
            data=data.to_dict(),
            points_to_evaluate=tuple(_checked_point(learner, p) for p in self.points_to_evaluate),
            grace_period=grace,
            budget=budget,
            spaces=tuple(self.spaces),
            objective=objective,
            constraint=constraint,
        )
        learner.check(base, data)
        if self.searches:
            suggest = request.suggest()
            fields = sample(suggest, 0)[1]
            clash = sorted(set(fields) & set(self.settings))
            if clash:
                raise UserError(
                    f"--set {clash[0]}={self.settings[clash[0]]} fixes a field that the space "
                    "searches; leave one of them out"
                )
            if self.searcher == "curves" and "epochs" in fields:
                raise UserError(
                    "--searcher curves compares trials at the same epochs, and the space searches "
                    "`epochs`; leave it out, or use --searcher tpe"
                )
            if self.scheduler == "pbt" and self.has_default and not changeable(fields):
                raise UserError(
                    "--scheduler pbt changes learning_rate and L2 fields in mid-run, and the space "
                    "has none; search `optimizer` or `l2`, or use --scheduler asha"
                )
            for point in request.points_to_evaluate:
                learner.check(request.config(point), data)
            for number in range(_CHECKED_POINTS):
                learner.check(request.config(sample(suggest, number)[1]), data)
        return request

    def suggest(self) -> Suggest:
        """The define-by-run function of all spaces together."""
        from raysweep.search_spaces import (
            bind_ranges,
            bind_user_space,
            combine,
            get_space,
            parse_range,
        )

        config = self.config({})
        functions: list[Suggest] = [
            bind_user_space(s, self.task, config)
            if is_target(s)
            else get_space(s).bind(self.task, config)
            for s in self.spaces
        ]
        if self.search:
            ranges = [parse_range(text, type(config)) for text in self.search]
            functions.append(bind_ranges(ranges, config))
        return combine(functions)

    def config(self, fields: Mapping[str, Any]) -> Any:
        """The whole configuration where a searcher chose `fields`."""
        return self.learner.config_class.create({**self.settings, **fields})

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Every field of `config(fields)`, by name."""
        return dict(self.config(fields).to_dict())

    def identity(self) -> dict[str, Any]:
        """What makes two requests the same search; what says only how far it goes is left out."""
        plain = json.loads(json.dumps(dataclasses.asdict(self), default=list))
        del plain["num_samples"], plain["budget"], plain["until"]
        if self.metric in self.learner.metrics:  # which tells the mode
            del plain["mode"]
        # As runs from before these were there have it.
        later = ("warm_start", "search", "points_to_evaluate", "objective", "constraint")
        for name in (*later, "deterministic"):
            if not plain[name]:
                del plain[name]
        return dict(plain)

    def default_name(self) -> str:
        """A name that equal requests share, and others do not."""
        identity = self.identity()
        if identity["settings"].get("stop_patience", 0) is None:
            # So named before the field was there: the command goes on with the run that it began.
            del identity["settings"]["stop_patience"]
        text = json.dumps(identity, sort_keys=True)
        spaces = [s.rpartition(":")[2] if is_target(s) else s for s in self.spaces]
        words = [s if s.isidentifier() else "space" for s in spaces]
        what = "+".join([*words, *(["search"] if self.search else [])]) or "train"
        task = re.sub(r"\W", "", self.task.rpartition(":")[2]) or "task"
        return f"{task}-{what}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _reported_metric(learner: type[Learner[Any]], metric: str, mode: str) -> tuple[str, str]:
    """The metric that the user's own code reports, and its mode, guessed if its name tells it."""
    from raysweep.trainables.user.tune_task import guess_mode

    if not metric:
        raise UserError(
            f"name the metric that {learner.name} reports, e.g. --metric val_accuracy --mode max"
        )
    if metric.startswith("test"):
        raise UserError(
            f"--metric {metric}: a search must not see the test set; have {learner.name} report a "
            "metric of a validation set, and choose by that"
        )
    mode = mode or guess_mode(metric)
    if not mode:
        raise UserError(
            f"--metric {metric}: say whether it is to be small or large, --mode min|max"
        )
    return metric, mode


def _checked_point(learner: type[Learner[Any]], point: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration to try, in their own types.

    Raises:
        UserError: the configuration cannot have one of them.
    """
    try:
        whole = learner.config_class.read(point).to_dict()
    except UserError as error:
        raise UserError(f"a configuration to try: {error}") from None
    return {name: whole[name] for name in flatten(point)}


def changeable(fields: Iterable[str]) -> list[str]:
    """Those fields that a model in training can change: its learning rate and its penalties."""
    return [name for name in fields if name == "learning_rate" or name.endswith("_l2")]


def check_limits(options: Any) -> None:
    """Refuses values outside the limits of a dataclass's `option` fields, by their flags' names.

    Raises:
        UserError: a number is NaN or too small, or a word is not one of the choices.
    """
    for f in dataclasses.fields(options):
        value, flag = getattr(options, f.name), f"--{f.name.replace('_', '-')}"
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"{flag} {value} is no number")
        low, choices = f.metadata.get("low"), f.metadata.get("choices")
        if low is not None and value is not None and not value >= low:
            raise UserError(f"{flag} {value} is too small; at least {low}")
        if choices and value not in choices:
            raise UserError(f"{flag} {value}: use one of {', '.join(filter(None, choices))}")
