"""Whether a trainable reports what objectives and constraints name; asked before Ray starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.objectives import MEASURES, Objective, parse_constraint, parse_objective
from raysweep.trainables.user.tune_task import TuneTask, guess_mode

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = ["check_goals"]


def check_goals(
    learner: type[Learner[Any]],
    given: tuple[str, str],
    objective: Sequence[str],
    constraint: Sequence[str],
) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    """The metric, its mode, and objectives and constraints as they are written down.

    One objective alone is the metric, and no objective is left.

    Args:
        learner: the trainable.
        given: metric and mode as given; both empty where objectives are.
        objective: NAME, NAME:min or NAME:max each.
        constraint: such as `num_parameters<=2e6` each.

    Raises:
        UserError: a name that the trainable does not report, or one of the test set; a mode that is
            not the metric's, or is not known; an objective given twice, or a measured one first.
    """
    own_code = issubclass(learner, TuneTask)  # only its reports will show what it measures
    objectives = [_objective(learner, text) for text in objective]
    names = [each.name for each in objectives]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--objective {name} is given twice")
    if names and names[0] not in learner.metrics and not own_code:
        raise UserError(
            f"--objective {names[0]} comes first, and a trial's best epoch is that of the first "
            f"objective: name a validation metric before it ({', '.join(learner.metrics)})"
        )
    limits = [parse_constraint(text) for text in constraint]
    for limit in limits:
        _check_name(learner, limit.name, f'--constraint "{limit}"')
    metric, mode = (objectives[0].name, objectives[0].mode) if objectives else given
    several = tuple(map(str, objectives)) if len(objectives) > 1 else ()
    return metric, mode, several, tuple(map(str, limits))


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
    mode = known or mode or ("min" if name in MEASURES else guess_mode(name))
    if not mode:
        raise UserError(
            f"--objective {name}: say whether it is to be small or large, {name}:min or {name}:max"
        )
    return Objective(name, mode)


def _check_name(learner: type[Learner[Any]], name: str, given: str) -> None:
    if name.startswith("test"):
        raise UserError(
            f"{given}: a search must not see the test set; use a metric of a validation set"
        )
    known = [*learner.metrics, *MEASURES]
    if name not in known and not issubclass(learner, TuneTask):
        raise UserError(
            f"{given}: {learner.name} reports {', '.join(learner.metrics)}, and of every model can "
            f"be measured {', '.join(MEASURES)}{nearest(name, known)}"
        )
