"""How many dense layers on top, and how wide?

The number of layers decides how many sizes are suggested, and other spaces place dropout and
normalisation after just those layers.
"""

from __future__ import annotations

from typing import Any

from raysweep.core.errors import UserError
from raysweep.search_spaces.fields import bounds, searched
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_MAX_LAYERS = 3


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    for name in searched(config, "*_batchnorm|*_dropout"):
        value = getattr(config, name)
        if isinstance(value, tuple) and len(value) > 1:
            raise UserError(
                f"{name} has a value for each layer, and the space 'head_shape' searches how many "
                f"layers there are; give {name} one value for all, or leave the space out"
            )
    layers = trial.suggest_int("num_layers", 0, _MAX_LAYERS)
    limits = bounds(config, "hidden_sizes", 32, 2048)
    sizes = (trial.suggest_int(f"units_{k + 1}", *limits, log=True) for k in range(layers))
    return {"hidden_sizes": tuple(sizes)}


SPACE = Space(
    name="head_shape",
    question="How many dense layers, and how many units in each?",
    suggest=_suggest,
    needs=("hidden_sizes",),
    first=True,
)
