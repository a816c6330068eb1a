"""Sentences and words that several sections share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from raysweep.analysis.effects.effect import Effect, Interaction
from raysweep.analysis.effects.estimate import MIN_TRIALS
from raysweep.analysis.effects.sentences import Unit, effect_sentence
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import Trials

__all__ = ["NOTHING", "field_sentence", "interaction_sentence", "listed", "too_few_trials"]

NOTHING = "no measurable difference"  # an effect's verdict


def listed(words: Sequence[str]) -> str:
    """Words with commas, and `and` before the last one."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def too_few_trials(trials: Trials) -> str:
    """Why nothing can be said about fields: too few results, or all trials alike."""
    judged = int(np.isfinite(trials.values).sum())
    if not trials.fields:
        return "All trials have the same configuration: there is nothing to compare."
    return (
        f"{judged} trial{' has' if judged == 1 else 's have'} a result: too few to say what a "
        f"field does, which takes {MIN_TRIALS} at least."
    )


def field_sentence(effect: Effect, trials: Trials) -> str:
    """The effect's sentence, with what the field means."""
    sentence = effect_sentence(effect, trials.metric)
    for f in dataclasses.fields(trials.config_class) if trials.config_class else ():
        meaning = str(f.metadata.get("help", "")).removeprefix("… ").partition(";")[0]
        if f.name == re.sub(r" \d+$", "", effect.field) and meaning:
            sentence = sentence.replace(effect.field, f"{effect.field} ({meaning})", 1)
    return sentence + "."


def interaction_sentence(pair: Interaction, trials: Trials) -> str:
    """Says where a pair does most, and how much, ± its 95% interval."""
    unit, (i, j) = Unit(trials.metric), pair.surest_cell
    gain, half = pair.gain[i, j], pair.half_width[i, j]
    word = "better" if gain > 0 else "worse"
    return (
        f"{pair.fields[0]} and {pair.fields[1]} act together: at {number(pair.grids[0][i])} and "
        f"{number(pair.grids[1][j])}, {trials.metric} is "
        f"{unit.interval(abs(gain), half, sign=False)} {word} than the sum of both effects."
    )
