"""Which recurrent cell, how many units, how many layers?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import bounds, choices
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    return {
        "cell": trial.suggest_categorical("cell", choices(config, "cell")),
        "hidden_size": trial.suggest_int(
            "hidden_size", *bounds(config, "hidden_size", 64, 512), log=True
        ),
        "num_layers": trial.suggest_int("num_layers", *bounds(config, "num_layers", 1, 2)),
    }


SPACE = Space(
    name="rnn_size",
    question="Which recurrent cell, how wide and how deep?",
    suggest=_suggest,
    needs=("cell", "hidden_size", "num_layers"),
)
