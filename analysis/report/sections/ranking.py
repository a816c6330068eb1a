"""How sure the ranking of the trials is."""

from __future__ import annotations

from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.report.certainty import Certainty
from raysweep.analysis.report.figures import certainty_picture
from raysweep.analysis.report.page import Grid, Section
from raysweep.analysis.report.sections.standing import measured_cell
from raysweep.analysis.report.sections.wording import too_few_trials
from raysweep.analysis.report.trials import Trials

__all__ = ["ranking"]

_NUM_SHOWN = 5


def ranking(trials: Trials) -> Section:
    """How sure the ranking is."""
    certainty = trials.certainty
    if certainty is None:
        return Section(
            "ranking", "Too early to say how sure the ranking is", (too_few_trials(trials),)
        )
    unit, best = Unit(trials.metric), trials.number(int(certainty.rows[certainty.best]))
    num_rivals, num_others = certainty.num_rivals, len(certainty.rows) - 1
    title = f"Trial {best} is the best beyond doubt"
    if num_rivals:
        title = f"{num_rivals} of {num_others} others cannot be told from the best trial"
    half_width = unit.text(1.96 * certainty.residual_std)
    sentences = [
        f"A trial's {trials.metric} moves by ± {half_width}{unit.word} (95%) for reasons that the "
        "fields do not explain, its seed for one.",
        f"Trial {best}, the best as measured, has the best configuration of all with a "
        f"probability of {certainty.chance_best[certainty.best]:.0%}, and beats the default with "
        f"a probability of {certainty.better_than_default:.0%}.",
    ]
    if certainty.best:
        top = trials.number(int(certainty.rows[0]))
        sentences.append(
            f"The best estimate is trial {top}: "
            f"{unit.interval(certainty.gain[0], certainty.half_width[0])} against the default."
        )
    shown = certainty_picture(trials, certainty, title)
    return Section(
        "ranking", title, tuple(sentences), (_ranking_grid(trials, certainty),), (shown,)
    )


def _ranking_grid(trials: Trials, certainty: Certainty) -> Grid:
    unit = Unit(trials.metric)
    rows = tuple(
        (
            f"trial {trials.number(int(row))}",
            measured_cell(trials, int(row)),
            unit.interval(certainty.gain[rank], certainty.half_width[rank]),
            f"{certainty.chance_best[rank]:.0%}",
        )
        for rank, row in enumerate(certainty.rows[:_NUM_SHOWN])
    )
    head = ("", trials.metric, "better than the default", "chance to be the best")
    return Grid(head, rows)
