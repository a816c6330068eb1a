"""What a search found out about its fields: estimated, said, written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from raysweep.analysis.effects.effect import Effect
    from raysweep.cluster.runs.ledger import Ledger

__all__ = ["effect_record", "print_effects", "search_effects"]


def search_effects(ledger: Ledger, searched: Collection[str]) -> list[Effect]:
    """What each searched field did to the ledger's metric."""
    from raysweep.analysis.effects.estimate import estimate_effects

    if not len(ledger):
        return []
    metric, configs = ledger.metric, [t.config for t in ledger]
    curves = [[r[metric] for r in t.history if metric in r] for t in ledger]
    fields = [field for field in configs[0] if field in searched]
    return estimate_effects(configs, curves, fields, ledger.mode, [t.params for t in ledger])


def effect_record(effect: Effect, metric: str) -> dict[str, Any]:
    """An effect as JSON-able values."""
    from raysweep.analysis.effects.sentences import effect_sentence

    return {
        "field": effect.field,
        "verdict": effect.verdict,
        "sentence": effect_sentence(effect, metric),
        "reference": effect.reference,
        "values": list(effect.grid),
        "gain": effect.gain.tolist(),
        "half_width_95": effect.half_width.tolist(),
    }


def print_effects(console: Console, effects: Sequence[Effect], metric: str) -> None:
    """Says of each field what it did, those with a measurable effect first."""
    from raysweep.analysis.effects.sentences import effect_sentence

    if not effects:
        return
    console.print("\n[bold]What mattered[/], other fields averaged over, with 95% intervals")
    for effect in sorted(effects, key=lambda e: e.verdict == "no measurable difference"):
        console.print(f"  {effect_sentence(effect, metric)}", markup=False)
    console.print()
