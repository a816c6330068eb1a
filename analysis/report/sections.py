"""The report's sections on what mattered: answer, best beside default, certainty, fields, pairs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raysweep.analysis.effects.estimate import MIN_TRIALS, Effect, Interaction
from raysweep.analysis.effects.sentences import Unit, effect_sentence, effect_title
from raysweep.analysis.reference import Reference
from raysweep.analysis.report.certainty import Certainty
from raysweep.analysis.report.figures import (
    certainty_picture,
    effect_picture,
    importance_picture,
    interaction_picture,
)
from raysweep.analysis.report.importance import importance
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = [
    "answer",
    "field_sentence",
    "fields",
    "importances",
    "listed",
    "pairs",
    "ranking",
    "standing",
    "too_thin",
]

_MOST_PANELS = 12
_NOTHING = "no measurable difference"


def listed(words: Sequence[str]) -> str:
    """Words with commas, and `and` before the last one."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def too_thin(trials: Trials) -> str:
    """Says why nothing is said about fields."""
    judged = int(np.isfinite(trials.values).sum())
    if not trials.fields:
        return "All trials have the same configuration: there is nothing to compare."
    return (
        f"{judged} trial{' has' if judged == 1 else 's have'} a result: too few to say what a "
        f"field does, which takes {MIN_TRIALS} at least."
    )


def _it(words: Sequence[str]) -> str:
    return "it" if len(words) == 1 else "them"


def answer(trials: Trials, facts: RunFacts) -> Section:
    """The answer in a few sentences."""
    sentences = [best_sentence(trials)]
    named = [effect for effect in trials.effects if effect.named]
    pairs = [each for each in trials.interactions if each.measurable]
    if not trials.effects:
        title = "Too early to say what matters"
        sentences.append(too_thin(trials))
    elif not named and not pairs:
        title = "No field made a difference that can be told from chance"
    else:
        words = [effect.field for effect in named]
        words += [f"{a} together with {b}" for a, b in (p.fields for p in pairs)]
        title = f"What mattered: {listed(words)}"
    sentences += [field_sentence(effect, trials) for effect in named]
    sentences += [interaction_sentence(pair, trials) for pair in pairs]
    if rest := [e for e in trials.effects if not e.named]:
        sentences.append(_rest_sentence(rest, trials))
    return Section("answer", title, tuple(sentences))


def best_sentence(trials: Trials) -> str:
    """The best trial beside the default, and how much of the difference may be luck."""
    if trials.best is None:
        return "No trial has a result yet."
    metric, best = trials.metric, trials.values[trials.best]
    start = f"The best trial ({trials.number(trials.best)}) has a {metric} of {best:.4f}"
    if trials.default is None:
        return f"{start}; the default configuration has no result."
    if trials.best == trials.default:
        return f"{start}: it is the default configuration itself."
    unit = Unit(metric)
    gap = trials.sign * (best - trials.values[trials.default])
    text = (
        f"{start}, {unit.text(gap)}{unit.word} better than the default's "
        f"{trials.values[trials.default]:.4f}"
    )
    found = trials.certainty
    if found is None:
        return f"{text}; one seed each, so that part of it is luck."
    gain, half = found.gain[found.best], found.half_width[found.best]
    sure = "" if gain > half else ", which is within the noise"
    return (
        f"{text}. The best of {len(found.rows)} is lucky, too: its configuration is estimated "
        f"to be worth {unit.text(gain, sign=True)} ± {unit.text(half)}{unit.word}{sure}."
    )


def field_sentence(effect: Effect, trials: Trials) -> str:
    """The effect's sentence, with what the field means."""
    sentence = effect_sentence(effect, trials.metric)
    for f in dataclasses.fields(trials.config_class):
        meaning = str(f.metadata.get("help", "")).removeprefix("… ").partition(";")[0]
        if f.name == re.sub(r" \d+$", "", effect.field) and meaning:
            sentence = sentence.replace(effect.field, f"{effect.field} ({meaning})", 1)
    return sentence + "."


def _rest_sentence(rest: Sequence[Effect], trials: Trials) -> str:
    unit = Unit(trials.metric)
    words = []
    for effect in rest:
        low = (effect.gain - effect.half_width).min()
        high = (effect.gain + effect.half_width).max()
        maybe = "" if effect.verdict == _NOTHING else ", a hint by itself"
        bounds = f"{unit.text(low, sign=True)} to {unit.text(high, sign=True)}{unit.word}"
        words.append(f"{effect.field} ({bounds}{maybe})")
    return (
        "No difference that can be told from chance, when allowance is made for how many fields "
        f"were looked at: {listed(words)}. In brackets, what is not ruled out."
    )


def standing(trials: Trials, facts: RunFacts, references: Sequence[Reference]) -> Section:
    """Best, default and published reference side by side."""
    best, default = trials.best, trials.default
    unit = Unit(trials.metric)
    if best is None:
        title = "Nothing to set beside the default yet"
    elif best == default:
        title = f"None of {len(trials) - 1} other trials did better than the default"
    elif default is None:
        title = "The best trial, without a default to compare with"
    else:
        gap = trials.sign * (trials.values[best] - trials.values[default])
        title = (
            f"Best against default: {unit.text(gap)}{unit.word} better, before luck is taken out"
        )
    rows: list[tuple[Cell | str, ...]] = []
    found = trials.certainty
    measured = [_measured(trials, row) for row in (best, default)]
    rows.append((f"{trials.metric}, one seed", *measured, ""))
    if found is not None:
        gain, half = found.gain[found.best], found.half_width[found.best]
        text = f"{unit.text(gain, sign=True)} ± {unit.text(half)}{unit.word}"
        rows.append(("better than the default, luck taken out", text, "0", ""))
    rows += _confirmed_rows(trials, facts, references)
    if best is not None:
        rows += _differing(trials, best, default)
    notes = ["Intervals hold the true value with 95% probability; single seeds have none."]
    notes += [
        f"Published: {r.title}, {r.metric} {r.value:g} on {r.measured_on}, where it was chosen too."
        for r in references
    ]
    if not references:
        notes.append("No published result is known for this network and these data.")
    head = ("", "best", "default", "published")
    width = len(head) if references else len(head) - 1
    grid = Grid(head[:width], tuple(row[:width] for row in rows))
    return Section("standing", title, grids=(grid,), notes=tuple(notes))


def _measured(trials: Trials, row: int | None) -> Cell:
    if row is None:
        return Cell("none")
    return Cell(f"{trials.values[row]:.4f}", f"trial {trials.number(row)}, {trials.metric}")


def _confirmed_rows(
    trials: Trials, facts: RunFacts, references: Sequence[Reference]
) -> list[tuple[Cell | str, ...]]:
    """Mean ± interval of fresh seeds, as `confirm` wrote them down, validation and test."""
    logged = list((facts.confirmed or {}).get("results", {}).values())
    published = {f"test_{r.metric}": f"{r.value:g}" for r in references[:1]}
    test = trials.metric.replace("val_", "test_", 1)
    if not logged or trials.best is None:
        return [(name, "not opened", "not opened", value) for name, value in published.items()]
    by_trial = {row["trial"]: row for rows in logged for row in rows}
    found: list[tuple[Cell | str, ...]] = []
    for name in (trials.metric, test):
        cells: list[Cell | str] = []
        for row in (trials.best, trials.default):
            record = by_trial.get(trials.number(row)) if row is not None else None
            have = record is not None and name in record
            cells.append(interval_cell(record, name) if record and have else "not measured")
        found.append((f"{name}, fresh seeds", *cells, published.pop(name, "")))
    return [*found, *((name, "", "", value) for name, value in published.items())]


def interval_cell(record: Mapping[str, Any], name: str) -> Cell:
    """Mean ± interval of a metric, and where confirm.json has it."""
    figure = record[name]
    text = f"{figure['mean']:.4f} ± {figure['interval_95']:.4f}"
    return Cell(text, f"confirm.json, {record['label']}, {name}")


def _differing(trials: Trials, best: int, default: int | None) -> list[tuple[Cell | str, ...]]:
    """The fields in which best and default differ."""
    rows: list[tuple[Cell | str, ...]] = []
    for name, value in trials.configs[best].items():
        other = trials.configs[default][name] if default is not None else None
        if name in trials.fields or value != other:
            mine = Cell(number(value), f"trial {trials.number(best)}, config.{name}")
            theirs = Cell(number(other), f"trial 0, config.{name}") if default is not None else ""
            rows.append((name, mine, theirs, ""))
    return rows


def ranking(trials: Trials) -> Section:
    """How sure the ranking is."""
    found = trials.certainty
    if found is None:
        return Section("ranking", "How sure the ranking is cannot be said yet", (too_thin(trials),))
    unit, number_of_best = Unit(trials.metric), trials.number(int(found.rows[found.best]))
    chance = found.chance_best[found.best]
    if found.rivals:
        title = f"{found.rivals} of {len(found.rows) - 1} others cannot be told from the best trial"
    else:
        title = f"Trial {number_of_best} is the best beyond doubt"
    sentences = [
        f"With another seed a trial's {trials.metric} moves by ± {unit.text(1.96 * found.luck)}"
        f"{unit.word} (95%), as far as the fields do not explain it.",
        f"Trial {number_of_best}, the best as measured, has the best configuration of all with a "
        f"probability of {chance:.0%}, and is better than the default with "
        f"one of {found.better_than_default:.0%}.",
    ]
    if found.best:
        top = trials.number(int(found.rows[0]))
        sentences.append(
            f"The best estimate is trial {top}: {unit.text(found.gain[0], sign=True)} ± "
            f"{unit.text(found.half_width[0])}{unit.word} against the default."
        )
    shown = certainty_picture(trials, found, title)
    return Section("ranking", title, tuple(sentences), (_ranking_grid(trials, found),), (shown,))


def _ranking_grid(trials: Trials, found: Certainty) -> Grid:
    unit = Unit(trials.metric)
    rows = []
    for place in range(min(5, len(found.rows))):
        row = int(found.rows[place])
        estimate = (
            f"{unit.text(found.gain[place], sign=True)} ± {unit.text(found.half_width[place])}"
        )
        rows.append(
            (
                f"trial {trials.number(row)}",
                _measured(trials, row),
                estimate + unit.word,
                f"{found.chance_best[place]:.0%}",
            )
        )
    head = ("", trials.metric, "better than the default", "chance to be the best")
    return Grid(head, tuple(rows))


def importances(trials: Trials) -> Section:
    """Importance of every field, by two evaluators."""
    found = importance(trials)
    if found is None:
        return Section("importance", "Importances cannot be computed yet", (too_thin(trials),))
    above = {name: found.above_chance(name) for name in found.shares}
    sure = [field for field in found.fields if all(field in names for names in above.values())]
    if sure:
        title = f"{listed(sure)}: more important than chance would make {_it(sure)}"
    elif any(above.values()):
        said = [f"{listed(names)} by {name}" for name, names in above.items() if names]
        title = f"More important than by chance: {'; '.join(said)}"
    else:
        title = "By importance, no field stands out from chance"
    rows = tuple(
        (field, *(f"{100 * found.shares[name][k]:.0f}%" for name in found.shares))
        for k, field in enumerate(found.fields)
    )
    chance = tuple(f"{100 * found.chance[name]:.0f}%" for name in found.shares)
    plural = "s" if found.epochs > 1 else ""
    sentence = (
        f"Compared after {found.epochs} epoch{plural}, which {found.num_trials} of "
        f"{len(trials)} trials have behind them. fANOVA shares out the variance of all "
        "results, PED-ANOVA what sets the best tenth apart."
    )
    grid = Grid(("field", *found.shares), (*rows, ("95% of chance", *chance)))
    shown = importance_picture(found, title)
    notes = list(found.caveats)
    named = [effect.field for effect in trials.effects if effect.named]
    if sure and named and not set(sure) & set(named):
        notes.append(
            f"The effects below, estimated from all epochs of all trials, name {listed(named)} "
            "instead: what matters early need not matter in the end."
        )
    return Section("importance", title, (sentence,), (grid,), (shown,), tuple(notes))


def fields(trials: Trials) -> Section:
    """What each field did, a picture each."""
    if not trials.effects:
        return Section("effects", "Effects cannot be estimated yet", (too_thin(trials),))
    counts = [sum(e.verdict != _NOTHING for e in trials.effects), len(trials.effects)]
    title = f"Effect of each field: {counts[0]} of {counts[1]} with a measurable one"
    shown = tuple(
        effect_picture(effect, trials, effect_title(effect), k)
        for k, effect in enumerate(trials.effects[:_MOST_PANELS], start=1)
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
    found = trials.interactions
    if not found:
        reason = too_thin(trials) if not trials.effects else "There is only one field."
        return Section("pairs", "Pairs of fields cannot be looked at", (reason,))
    sure = [pair for pair in found if pair.measurable]
    verb = "does" if len(sure) == 1 else "do"
    title = f"{len(sure)} of {len(found)} pairs of fields {verb} more than the sum of both"
    if not sure:
        title = f"None of {len(found)} pairs of fields does measurably more than the sum of both"
    sentences = [interaction_sentence(pair, trials) for pair in sure]
    if not sure:
        unit = Unit(trials.metric)
        most = max(float((np.abs(p.gain) + p.half_width).max()) for p in found)
        sentences.append(f"Ruled out is more than {unit.text(most)} {unit.name} anywhere.")
    shown = tuple(
        interaction_picture(pair, trials, _pair_title(pair), k)
        for k, pair in enumerate(found[: max(1, min(3, len(sure)))], start=1)
    )
    note = (
        f"{len(found)} pairs were looked at, which the intervals allow for; other fields are "
        "averaged over."
    )
    return Section("pairs", title, tuple(sentences), pictures=shown, notes=(note,))


def _pair_title(pair: Interaction) -> str:
    how = "more than the sum" if pair.measurable else "no measurable interaction"
    return f"{pair.fields[0]} with {pair.fields[1]}: {how}"


def interaction_sentence(pair: Interaction, trials: Trials) -> str:
    """Says where a pair does most, and how much, ± its 95% interval."""
    unit, (i, j) = Unit(trials.metric), pair.place
    gain, half = pair.gain[i, j], pair.half_width[i, j]
    word = "better" if gain > 0 else "worse"
    return (
        f"{pair.fields[0]} and {pair.fields[1]} act together: at {number(pair.grids[0][i])} and "
        f"{number(pair.grids[1][j])}, {trials.metric} is {unit.text(abs(gain))} ± "
        f"{unit.text(half)}{unit.word} {word} than the sum of both effects."
    )
