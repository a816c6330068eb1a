"""How large an embedding?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import bounds, searched
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_SIZES = "embedding_size|*_embedding_size|num_factors"


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    return {
        name: trial.suggest_int(name, *bounds(config, name, 8, 256), log=True)
        for name in searched(config, _SIZES)
    }


SPACE = Space(
    name="embedding_size",
    question="How large should an embedding be?",
    suggest=_suggest,
    needs=(_SIZES,),
)
