"""Where does batch normalisation go?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import gather, sites
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    where = sites(config, "batchnorm")
    used = {
        site: bool(trial.suggest_categorical(f"normalise_{site}", [False, True]))
        for each in where.values()
        for site in each
    }
    return gather(config, where, used)


SPACE = Space(
    name="batchnorm_placement",
    question="Where does batch normalisation go?",
    suggest=_suggest,
    needs=("*_batchnorm|batchnorm",),
)
