"""Embeddings from nothing, or from word vectors that were trained on far more text?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import choices
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    sources = choices(config, "embedding_source")
    return {"embedding_source": trial.suggest_categorical("embedding_source", sources)}


SPACE = Space(
    name="embedding_source",
    question="Should embeddings start at random, or as word vectors?",
    suggest=_suggest,
    needs=("embedding_source",),
)
