"""How much L2? Strengths λ of the penalty λ·Σw², for embeddings and for what else has one."""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

# A whole table's rows weigh 1 each, and thousands of times less in the other two (see
# trainables/ratings/learner.py), so that λ lives on another scale.
_EMBEDDING = {"batch": (0.02, 0.5), "balanced": (0.02, 0.5), "table": (1e-6, 1e-2)}
_BIAS = {"batch": (1e-4, 0.1), "balanced": (1e-4, 0.1), "table": (1e-7, 1e-3)}


def _tables(trial: Trial, config: Any) -> dict[str, Any]:
    fields = {
        "embedding_l2": trial.suggest_float("embedding_l2", *_EMBEDDING[config.l2_on], log=True)
    }
    if config.implicit_feedback:
        fields["implicit_l2"] = trial.suggest_float("implicit_l2", 0.2, 3.0, log=True)
    return fields


def _matrix_factorization(trial: Trial, config: Any) -> dict[str, Any]:
    fields = _tables(trial, config)
    if config.biases:
        fields["bias_l2"] = trial.suggest_float("bias_l2", *_BIAS[config.l2_on], log=True)
    return fields


def _ratings_net(trial: Trial, config: Any) -> dict[str, Any]:
    dense = trial.suggest_float("dense_l2", 1e-7, 1e-2, log=True)
    return {**_tables(trial, config), "dense_l2": dense}


def _sentiment(trial: Trial, config: Any) -> dict[str, Any]:
    # The whole table counts, once a batch: Keras's penalty, and its scale.
    return {
        "embedding_l2": trial.suggest_float("embedding_l2", 1e-8, 1e-3, log=True),
        "dense_l2": trial.suggest_float("dense_l2", 1e-7, 1e-2, log=True),
    }


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    return {"dense_l2": trial.suggest_float("dense_l2", 1e-7, 1e-1, log=True)}


SPACE = Space(
    name="l2",
    question="How much L2 should the weights carry?",
    suggest={
        "image_head": _image_head,
        "matrix_factorization": _matrix_factorization,
        "ratings_net": _ratings_net,
        "sentiment": _sentiment,
    },
)
