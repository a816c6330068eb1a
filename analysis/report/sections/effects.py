"""What each field did, each pair of fields, and how much each of them mattered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raysweep.analysis.effects.effect import Interaction
from raysweep.analysis.effects.sentences import Unit, effect_title
from raysweep.analysis.report.figures import effect_picture, importance_picture, interaction_picture
from raysweep.analysis.report.importance import importance
from raysweep.analysis.report.page import Grid, Section
from raysweep.analysis.report.sections.wording import (
    NOTHING,
    field_sentence,
    interaction_sentence,
    listed,
    too_few_trials,
)
from raysweep.analysis.report.trials import Trials

__all__ = ["effects", "importances", "pairs"]

_MAX_PANELS = 12


def importances(trials: Trials) -> Section:
    """Importance of every field, by two evaluators."""
    result = importance(trials)
    if result is None:
        return Section(
            "importance", "Importances cannot be computed yet", (too_few_trials(trials),)
        )
    above = {name: result.above_chance(name) for name in result.shares}
    sure = [field for field in result.fields if all(field in names for names in above.values())]
    if sure:
        title = f"{listed(sure)}: more important than chance would make {_it(sure)}"
    elif any(above.values()):
        findings = [f"{listed(names)} by {name}" for name, names in above.items() if names]
        title = f"More important than by chance: {'; '.join(findings)}"
    else:
        title = "By importance, no field stands out from chance"
    rows = tuple(
        (field, *(f"{100 * result.shares[name][k]:.0f}%" for name in result.shares))
        for k, field in enumerate(result.fields)
    )
    chance = tuple(f"{100 * result.chance[name]:.0f}%" for name in result.shares)
    plural = "s" if result.epochs > 1 else ""
    sentence = (
        f"Compared after {result.epochs} epoch{plural}, which {result.num_trials} of "
        f"{len(trials)} trials completed. fANOVA shares out the variance of all "
        "results, PED-ANOVA what sets the best tenth apart."
    )
    grid = Grid(("field", *result.shares), (*rows, ("95% of chance", *chance)))
    shown = importance_picture(result, title)
    notes = list(result.caveats)
    significant = [effect.field for effect in trials.effects if effect.significant]
    if sure and significant and not set(sure) & set(significant):
        notes.append(
            "The effects below, estimated from all epochs of all trials, name "
            f"{listed(significant)} instead: what matters early need not matter in the end."
        )
    return Section("importance", title, (sentence,), (grid,), (shown,), tuple(notes))


def _it(words: Sequence[str]) -> str:
    return "it" if len(words) == 1 else "them"


def effects(trials: Trials) -> Section:
    """What each field did, a picture each."""
    if not trials.effects:
        return Section("effects", "Effects cannot be estimated yet", (too_few_trials(trials),))
    counts = [sum(e.verdict != NOTHING for e in trials.effects), len(trials.effects)]
    title = f"Effect of each field: {counts[0]} of {counts[1]} with a measurable one"
    shown = tuple(
        effect_picture(effect, trials, effect_title(effect), k)
        for k, effect in enumerate(trials.effects[:_MAX_PANELS], start=1)
    )
    sentences = tuple(field_sentence(effect, trials) for effect in trials.effects)
    notes = (
        "Partial dependence: other fields are averaged over. All trials count, those that the "
        "scheduler stopped with the epochs that they had. Each band holds the whole curve with 95% "
        "probability. Ticks: what was tried.",
    )
    return Section("effects", title, sentences, pictures=shown, notes=notes)


def pairs(trials: Trials) -> Section:
    """Which of the top fields do something together."""
    interactions = trials.interactions
    if not interactions:
        reason = too_few_trials(trials) if not trials.effects else "There is only one field."
        return Section("pairs", "Pairs of fields cannot be looked at", (reason,))
    sure = [pair for pair in interactions if pair.measurable]
    verb = "does" if len(sure) == 1 else "do"
    title = f"{len(sure)} of {len(interactions)} pairs of fields {verb} more than the sum of both"
    if not sure:
        title = (
            f"None of {len(interactions)} pairs of fields does measurably more than the sum of both"
        )
    sentences = [interaction_sentence(pair, trials) for pair in sure]
    if not sure:
        unit = Unit(trials.metric)
        most = max(float((np.abs(p.gain) + p.half_width).max()) for p in interactions)
        sentences.append(
            f"An interaction of more than {unit.text(most)} {unit.name} is ruled out everywhere."
        )
    shown = tuple(
        interaction_picture(pair, trials, _pair_title(pair), k)
        for k, pair in enumerate(interactions[: max(1, min(3, len(sure)))], start=1)
    )
    note = (
        f"{len(interactions)} pairs were looked at, which the intervals allow for; other fields "
        "are averaged over."
    )
    return Section("pairs", title, tuple(sentences), pictures=shown, notes=(note,))


def _pair_title(pair: Interaction) -> str:
    how = "more than the sum" if pair.measurable else "no measurable interaction"
    return f"{pair.fields[0]} with {pair.fields[1]}: {how}"
