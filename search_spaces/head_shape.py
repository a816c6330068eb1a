"""How many dense layers on top, and how wide?

The number of layers decides how many sizes are suggested, and other spaces place dropout and
normalisation after just those layers.
"""

from __future__ import annotations

from typing import Any

from raysweep.core.errors import UserError
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_MAX_LAYERS = 3


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    for name in ("dense_batchnorm", "dense_dropout"):
        if len(getattr(config, name)) > 1:
            raise UserError(
                f"{name} has a value for each layer, and the space 'head_shape' searches how many "
                f"layers there are; give {name} one value for all, or leave the space out"
            )
    layers = trial.suggest_int("num_layers", 0, _MAX_LAYERS)
    sizes = (trial.suggest_int(f"units_{k + 1}", 32, 2048, log=True) for k in range(layers))
    return {"hidden_sizes": tuple(sizes)}


SPACE = Space(
    name="head_shape",
    question="How many dense layers, and how many units in each?",
    suggest={"image_head": _image_head},
    first=True,
)
