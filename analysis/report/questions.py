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
from raysweep.analysis.report.sections import field_sentence, listed, too_thin
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["placement", "widths"]


def placement(trials: Trials, facts: RunFacts) -> list[Section]:
    """Where dropout went, drawn into the network; nothing for other questions."""
    if "dropout_placement" not in facts.request.get("spaces", ()):
        return []
    effects = {effect.field: effect for effect in trials.effects}
    layers = network_layers(str(facts.request["task"]), trials.configs[0]) if len(trials) else []
    sites = [site for _, names in layers for site in names if site in effects]
    if not sites:
        return [Section("placement", "Where dropout goes cannot be said yet", (too_thin(trials),))]
    helping = [site for site in sites if effects[site].verdict in ("helps", "both")]
    hurting = [site for site in sites if effects[site].verdict == "hurts"]
    said = [f"helps as {listed(helping)}"] if helping else []
    said += [f"only hurts as {listed(hurting)}"] if hurting else []
    title = "Dropout " + ("; ".join(said) if said else "made no measurable difference at any site")
    shown = placement_picture(layers, effects, trials, title)
    sentences = [field_sentence(effects[site], trials) for site in sites]
    return [Section("placement", title, tuple(sentences), pictures=(shown,))]


def widths(trials: Trials, facts: RunFacts) -> list[Section]:
    """What each filter width did, and how many of them; nothing for other questions."""
    if "filter_widths" not in facts.request.get("spaces", ()):
        return []
    by_width, how_many = width_effects(trials.effects)
    if not by_width:
        return [Section("widths", "What widths do cannot be said yet", (too_thin(trials),))]
    good = [str(width) for width, effect in by_width if effect.verdict == "helps"]
    bad = [str(width) for width, effect in by_width if effect.verdict == "hurts"]
    said = [f"width {listed(good)} helps"] if good else []
    said += [f"width {listed(bad)} hurts"] if bad else []
    if how_many is not None:
        said.append(effect_title(how_many))
    title = "; ".join(said) if good or bad else "No filter width is measurably better than another"
    shown = widths_picture(by_width, how_many, trials, title)
    sentences = [field_sentence(effect, trials) for _, effect in by_width]
    sentences += [field_sentence(how_many, trials)] if how_many is not None else []
    return [Section("widths", title[:1].upper() + title[1:], tuple(sentences), pictures=(shown,))]
