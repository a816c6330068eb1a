"""What each searched field did, estimated from a run's ledger."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysweep.analysis.effects.effect import Effect
    from raysweep.cluster.runs.ledger import Ledger

__all__ = ["effect_record", "search_effects"]


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
