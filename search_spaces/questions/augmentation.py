"""Do variants of the images help, which ones, and how many of them?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import bounds, choices
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    kinds = choices(config, "variants", ["none", "mirrored", "all"])
    variants = trial.suggest_categorical("variants", kinds)
    share = 1.0
    if variants != "none":
        share = trial.suggest_float("variant_share", *bounds(config, "variant_share", 0.1, 1.0))
    return {"variants": variants, "variant_share": share}


SPACE = Space(
    name="augmentation",
    question="Do mirrored and distorted images help, and how many of them?",
    suggest=_suggest,
    needs=("variants", "variant_share"),
)
