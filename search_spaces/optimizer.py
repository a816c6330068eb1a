"""Which optimiser, how fast, how many examples a step?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

# Adagrad's steps shrink from the first on and stochastic gradient descent has no per-weight scale,
# so each rule needs a range of its own: the rate is conditional on the rule.
_RATES = {"adam": (1e-3, 5e-2), "adagrad": (1e-2, 0.5), "sgd": (1e-2, 1.0)}


def _ratings(trial: Trial, config: Any) -> dict[str, Any]:
    rule = trial.suggest_categorical("optimizer", ["adam", "adagrad", "sgd"])
    return {
        "optimizer": rule,
        "learning_rate": trial.suggest_float(f"{rule}_learning_rate", *_RATES[rule], log=True),
        "schedule": trial.suggest_categorical("schedule", ["constant", "linear", "cosine"]),
        "batch_size": trial.suggest_categorical("batch_size", [512, 1024, 2048, 4096]),
    }


def _char_rnn(trial: Trial, config: Any) -> dict[str, Any]:
    return _text(trial, [16, 32, 64, 128], {"adam": (5e-4, 1e-2), "adagrad": (5e-3, 0.2)})


def _word_vectors(trial: Trial, config: Any) -> dict[str, Any]:
    return _text(trial, [256, 512, 1024, 2048], {"adam": (5e-4, 2e-2), "adagrad": (1e-2, 0.5)})


def _text(
    trial: Trial, batch_sizes: list[int], rates: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    rates = {"sgd": (5e-2, 2.0), **rates}
    rule = trial.suggest_categorical("optimizer", list(rates))
    return {
        "optimizer": rule,
        "learning_rate": trial.suggest_float(f"{rule}_learning_rate", *rates[rule], log=True),
        "schedule": trial.suggest_categorical("schedule", ["constant", "linear", "cosine"]),
        "batch_size": trial.suggest_categorical("batch_size", batch_sizes),
    }


_SENTIMENT_RATES = {"adam": (1e-4, 1e-2), "adagrad": (1e-3, 0.1), "sgd": (1e-3, 0.3)}
_HEAD_RATES = {"adam": (1e-5, 1e-2), "adagrad": (1e-4, 0.1), "sgd": (1e-4, 0.3)}


def _sentiment(trial: Trial, config: Any) -> dict[str, Any]:
    return _text(trial, [32, 64, 128, 256], _SENTIMENT_RATES)


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    return _text(trial, [16, 32, 64, 128, 256], _HEAD_RATES)


SPACE = Space(
    name="optimizer",
    question="Which optimiser, at what learning rate and batch size?",
    suggest={
        "char_rnn": _char_rnn,
        "image_head": _image_head,
        "matrix_factorization": _ratings,
        "ratings_net": _ratings,
        "sentiment": _sentiment,
        "word_vectors": _word_vectors,
    },
)
