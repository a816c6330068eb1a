"""Which optimiser, how fast, how many examples a step?"""

from __future__ import annotations

from typing import Any

from raysweep.search_spaces.fields import bounds, choices, own_range
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

# Adagrad's steps shrink from the first on and stochastic gradient descent has no per-weight scale,
# so each rule needs a range of its own: the rate is conditional on the rule.
_RATES = {"sgd": (1e-3, 0.5), "adam": (1e-4, 3e-2), "adagrad": (1e-3, 0.3)}


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    own = own_range(config, "learning_rate")
    rates = own if isinstance(own, dict) else _RATES
    rule = trial.suggest_categorical("optimizer", choices(config, "optimizer", list(rates)))
    usual = _RATES.get(rule, _RATES["adam"])
    limits = own[rule] if isinstance(own, dict) else bounds(config, "learning_rate", *usual)
    schedules = choices(config, "schedule", ["constant", "linear", "cosine"])
    size = config.batch_size
    sizes = sorted({max(1, size // 4), max(1, size // 2), size, 2 * size})
    return {
        "optimizer": rule,
        "learning_rate": trial.suggest_float(f"{rule}_learning_rate", *limits, log=True),
        "schedule": trial.suggest_categorical("schedule", schedules),
        "batch_size": trial.suggest_categorical("batch_size", choices(config, "batch_size", sizes)),
    }


SPACE = Space(
    name="optimizer",
    question="Which optimiser, at what learning rate and batch size?",
    suggest=_suggest,
    needs=("optimizer", "learning_rate", "schedule", "batch_size"),
)
