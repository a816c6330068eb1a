"""How much L2? Strengths λ of the penalty λ·Σw², for embeddings and for what else has one."""

from __future__ import annotations

from typing import Any

from search_spaces.space import Space, Trial

__all__ = ["SPACE"]


def _matrix_factorization(trial: Trial, config: Any) -> dict[str, Any]:
    return {
        "embedding_l2": trial.suggest_float("embedding_l2", 1e-3, 1.0, log=True),
        "bias_l2": trial.suggest_float("bias_l2", 1e-4, 0.1, log=True),
    }


def _ratings_net(trial: Trial, config: Any) -> dict[str, Any]:
    return {
        "embedding_l2": trial.suggest_float("embedding_l2", 1e-4, 0.3, log=True),
        "dense_l2": trial.suggest_float("dense_l2", 1e-7, 1e-2, log=True),
    }


SPACE = Space(
    name="l2",
    question="How much L2 should the weights carry?",
    ask={"matrix_factorization": _matrix_factorization, "ratings_net": _ratings_net},
)
