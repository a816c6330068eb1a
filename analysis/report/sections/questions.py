"""Sections for two questions: where dropout goes in a network, and how wide its filters are."""

from __future__ import annotations

from raysweep.analysis.effects.sentences import effect_title
from raysweep.analysis.report.network import (
    network_layers,
    placement_picture,
    width_effects,
    widths_picture,
)
from raysweep.analysis.report.page import Section
from raysweep.analysis.report.sections.wording import field_sentence, listed, too_few_trials
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["placement", "widths"]


def placement(trials: Trials, facts: RunFacts) -> list[Section]:
    """Where dropout went, drawn into the network; no section for other questions."""
    if "dropout_placement" not in facts.request.get("spaces", ()):
        return []
    effects = {effect.field: effect for effect in trials.effects}
    layers = network_layers(str(facts.request["task"]), trials.configs[0]) if len(trials) else []
    sites = [site for _, names in layers for site in names if site in effects]
    if not sites:
        return [
            Section(
                "placement", "Too early to say where dropout should go", (too_few_trials(trials),)
            )
        ]
    helping = [site for site in sites if effects[site].verdict in ("helps", "both")]
    hurting = [site for site in sites if effects[site].verdict == "hurts"]
    findings = [f"helps as {listed(helping)}"] if helping else []
    findings += [f"only hurts as {listed(hurting)}"] if hurting else []
    title = "Dropout " + (
        "; ".join(findings) if findings else "made no measurable difference at any site"
    )
    shown = placement_picture(layers, effects, trials, title)
    sentences = [field_sentence(effects[site], trials) for site in sites]
    return [Section("placement", title, tuple(sentences), pictures=(shown,))]


def widths(trials: Trials, facts: RunFacts) -> list[Section]:
    """What each filter width did, and how many of them; no section for other questions."""
    if "filter_widths" not in facts.request.get("spaces", ()):
        return []
    by_width, number_effect = width_effects(trials.effects)
    if not by_width:
        return [
            Section(
                "widths", "Too early to say what the filter widths do", (too_few_trials(trials),)
            )
        ]
    good = [str(width) for width, effect in by_width if effect.verdict == "helps"]
    bad = [str(width) for width, effect in by_width if effect.verdict == "hurts"]
    findings = [f"width {listed(good)} helps"] if good else []
    findings += [f"width {listed(bad)} hurts"] if bad else []
    if number_effect is not None:
        findings.append(effect_title(number_effect))
    title = (
        "; ".join(findings) if good or bad else "No filter width is measurably better than another"
    )
    shown = widths_picture(by_width, number_effect, trials, title)
    sentences = [field_sentence(effect, trials) for _, effect in by_width]
    sentences += [field_sentence(number_effect, trials)] if number_effect is not None else []
    return [Section("widths", title[:1].upper() + title[1:], tuple(sentences), pictures=(shown,))]
