"""Where does batch normalisation go?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    def used(site: str) -> bool:
        return bool(trial.suggest_categorical(f"normalise_{site}", [False, True]))

    layers = range(1, len(config.hidden_sizes) + 1)
    return {
        "input_batchnorm": used("input"),
        "dense_batchnorm": tuple(used(f"dense_{k}") for k in layers),
    }


SPACE = Space(
    name="batchnorm_placement",
    question="Where does batch normalisation go?",
    suggest={"image_head": _image_head},
)
