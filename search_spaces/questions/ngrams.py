"""Does it help to look at runs of words as they are, beside a network?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import choices
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    lengths = choices(config, "ngrams", [0, 1, 2, 3])
    return {"ngrams": trial.suggest_categorical("ngrams", lengths)}


SPACE = Space(
    name="ngrams",
    question="How long are the runs of words that say something by themselves?",
    suggest=_suggest,
    needs=("ngrams",),
)
