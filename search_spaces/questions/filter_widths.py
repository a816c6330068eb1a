"""Which widths of filters side by side, and how many of each?"""

from __future__ import annotations

from typing import Any

from raysweep.core.errors import UserError
from raysweep.search_spaces.fields import bounds
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_WIDTHS = range(2, 8)


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    """Any set of widths that is not empty, by its smallest, and each larger one in or out."""
    architecture = getattr(config, "architecture", "cnn")
    if architecture != "cnn":
        raise UserError(
            f"the space 'filter_widths' is for architecture=cnn, not {architecture}; leave "
            "the space or --set architecture out"
        )
    smallest = trial.suggest_categorical("smallest_width", list(_WIDTHS))
    larger = [width for width in _WIDTHS if width > smallest]
    used = [w for w in larger if trial.suggest_categorical(f"use_width_{w}", [False, True])]
    widths, limits = (smallest, *used), bounds(config, "num_filters", 16, 128)
    numbers = (trial.suggest_int(f"num_filters_{w}", *limits, log=True) for w in widths)
    return {"filter_widths": widths, "num_filters": tuple(numbers)}


SPACE = Space(
    name="filter_widths",
    question="How wide a filter, and how many of each width?",
    suggest=_suggest,
    needs=("filter_widths", "num_filters"),
)
