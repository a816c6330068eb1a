"""What mattered, in a few sentences: the first thing that a reader sees."""

from __future__ import annotations

from collections.abc import Sequence

from raysweep.analysis.effects.effect import Effect
from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.report.page import Section
from raysweep.analysis.report.sections.wording import (
    NOTHING,
    field_sentence,
    interaction_sentence,
    listed,
    too_few_trials,
)
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["headline"]


def headline(trials: Trials, facts: RunFacts) -> Section:
    """What mattered and what did not, in a few sentences."""
    sentences = [_best_sentence(trials)]
    significant = [effect for effect in trials.effects if effect.significant]
    pairs = [pair for pair in trials.interactions if pair.measurable]
    if not trials.effects:
        title = "Too early to say what matters"
        sentences.append(too_few_trials(trials))
    elif not significant and not pairs:
        title = "No field made a difference that can be told from chance"
    else:
        words = [effect.field for effect in significant]
        words += [f"{a} together with {b}" for a, b in (p.fields for p in pairs)]
        title = f"What mattered: {listed(words)}"
    sentences += [field_sentence(effect, trials) for effect in significant]
    sentences += [interaction_sentence(pair, trials) for pair in pairs]
    if rest := [e for e in trials.effects if not e.significant]:
        sentences.append(_rest_sentence(rest, trials))
    return Section("answer", title, tuple(sentences))


def _best_sentence(trials: Trials) -> str:
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
    certainty = trials.certainty
    if certainty is None:
        return f"{text}; one seed each, so that part of it is luck."
    gain, half = certainty.gain[certainty.best], certainty.half_width[certainty.best]
    sure = "" if gain > half else ", which is within the noise"
    return (
        f"{text}. The best of {len(certainty.rows)} is lucky, too: its configuration is estimated "
        f"to be worth {unit.interval(gain, half)}{sure}."
    )


def _rest_sentence(rest: Sequence[Effect], trials: Trials) -> str:
    unit = Unit(trials.metric)
    words = []
    for effect in rest:
        low = (effect.gain - effect.half_width).min()
        high = (effect.gain + effect.half_width).max()
        maybe = "" if effect.verdict == NOTHING else ", a hint by itself"
        bounds = f"{unit.text(low, sign=True)} to {unit.text(high, sign=True)}{unit.word}"
        words.append(f"{effect.field} ({bounds}{maybe})")
    return (
        "No difference that can be told from chance, when allowance is made for how many fields "
        f"were looked at: {listed(words)}. In brackets, what is not ruled out."
    )
