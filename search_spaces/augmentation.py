"""Do variants of the images help, which ones, and how many of them?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    variants = trial.suggest_categorical("variants", ["none", "mirrored", "all"])
    share = 1.0 if variants == "none" else trial.suggest_float("variant_share", 0.1, 1.0)
    return {"variants": variants, "variant_share": share}


SPACE = Space(
    name="augmentation",
    question="Do mirrored and distorted images help, and how many of them?",
    suggest={"image_head": _image_head},
)
