"""Whether a trainable reports what objectives and constraints name; asked before Ray starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.objectives import Objective, parse_constraint, parse_objective
from raysweep.trainables.measures import MEASURES

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = ["check_goals"]


def check_goals(
    learner: type[Learner[Any]],
    metric: str,
    objective: Sequence[str],
    constraint: Sequence[str],
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The metric, and objectives and constraints as they are written down.

    One objective alone is the metric, and no objective is left.

    Args:
        learner: the trainable.
        metric: as given; empty where objectives are, or for the trainable's own.
        objective: NAME, NAME:min or NAME:max each.
        constraint: such as `num_parameters<=2e6` each.

    Raises:
        UserError: a name that the trainable does not report, or one of the test set; a mode that is
            not the metric's; an objective given twice, or a measured one first.
    """
    objectives = [_objective(learner, text) for text in objective]
    names = [each.name for each in objectives]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--objective {name} is given twice")
    if names and names[0] not in learner.metrics:
        raise UserError(
            f"--objective {names[0]} comes first, and a trial's best epoch is that of the first "
            f"objective: name a validation metric before it ({', '.join(learner.metrics)})"
        )
    limits = [parse_constraint(text) for text in constraint]
    for limit in limits:
        _check_name(learner, limit.name, f'--constraint "{limit}"')
    goals = {
        "objective": tuple(map(str, objectives)) if len(objectives) > 1 else (),
        "constraint": tuple(map(str, limits)),
    }
    return names[0] if names else metric, goals


def _objective(learner: type[Learner[Any]], text: str) -> Objective:
    name, mode = parse_objective(text)
    _check_name(learner, name, f"--objective {text}")
    known = learner.metrics.get(name)
    if known and mode not in ("", known):
        better = "small" if known == "min" else "large"
        raise UserError(
            f"--objective {text}: {learner.name}'s {name} is better when it is {better}; write "
            f"{name}"
        )
    return Objective(name, known or mode or "min")


def _check_name(learner: type[Learner[Any]], name: str, given: str) -> None:
    known = [*learner.metrics, *MEASURES]
    if name.startswith("test"):
        raise UserError(
            f"{given}: a search must not see the test set; use a validation metric "
            f"({', '.join(learner.metrics)})"
        )
    if name not in known:
        raise UserError(
            f"{given}: {learner.name} reports {', '.join(learner.metrics)}, and of every model can "
            f"be measured {', '.join(MEASURES)}{nearest(name, known)}"
        )
