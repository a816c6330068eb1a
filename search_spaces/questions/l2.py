"""How much L2? Strengths λ of the penalty λ·Σw², for embeddings and for what else has one."""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import bounds, searched
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_PENALTIES = "*_l2|l2"


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    return {
        name: trial.suggest_float(name, *bounds(config, name, 1e-7, 1e-2), log=True)
        for name in searched(config, _PENALTIES)
    }


SPACE = Space(
    name="l2",
    question="How much L2 should the weights carry?",
    suggest=_suggest,
    needs=(_PENALTIES,),
)
