"""How large an embedding?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _ratings(trial: Trial, config: Any) -> dict[str, Any]:
    return {"num_factors": trial.suggest_int("num_factors", 8, 256, log=True)}


def _characters(trial: Trial, config: Any) -> dict[str, Any]:
    return {"embedding_size": trial.suggest_int("embedding_size", 8, 256, log=True)}


def _words(trial: Trial, config: Any) -> dict[str, Any]:
    return {"embedding_size": trial.suggest_int("embedding_size", 16, 300, log=True)}


def _sentiment(trial: Trial, config: Any) -> dict[str, Any]:
    return {"embedding_size": trial.suggest_int("embedding_size", 8, 256, log=True)}


SPACE = Space(
    name="embedding_size",
    question="How large should an embedding be?",
    suggest={
        "char_rnn": _characters,
        "matrix_factorization": _ratings,
        "ratings_net": _ratings,
        "sentiment": _sentiment,
        "word_vectors": _words,
    },
)
