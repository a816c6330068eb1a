"""Where does dropout go, and how much of it?

Three ways to place it, each with the rates that it needs and no others: the same rate everywhere,
one site only, or every site on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_MAX_RATE = 0.8


def _rates(trial: Trial, sites: Sequence[str], one_site: str = "site") -> dict[str, float]:
    """A dropout rate for each site; 0 where dropout is not placed.

    Args:
        trial: suggests the values.
        sites: in order.
        one_site: the param that says which one site has dropout. Other sites need another name,
            since Optuna wants a param to have the same choices in all trials.
    """
    rates = dict.fromkeys(sites, 0.0)
    placement = trial.suggest_categorical("placement", ["everywhere", "one_site", "free"])
    if placement == "everywhere":
        return dict.fromkeys(sites, trial.suggest_float("rate_everywhere", 0.05, _MAX_RATE))
    if placement == "one_site":
        site = trial.suggest_categorical(one_site, list(sites))
        return rates | {site: trial.suggest_float("rate_one_site", 0.05, _MAX_RATE)}
    for site in sites:
        if trial.suggest_categorical(f"use_{site}", [False, True]):
            rates[site] = trial.suggest_float(f"rate_{site}", 0.05, _MAX_RATE)
    return rates


def _ratings_net(trial: Trial, config: Any) -> dict[str, Any]:
    layers = [f"dense_{i + 1}" for i in range(len(config.hidden_sizes))]
    rates = _rates(trial, ["embedding", *layers])
    return {
        "embedding_dropout": rates["embedding"],
        "dense_dropout": tuple(rates[layer] for layer in layers),
    }


def _char_rnn(trial: Trial, config: Any) -> dict[str, Any]:
    sites = ["input", "layer", "output"] if config.num_layers > 1 else ["input", "output"]
    return {f"{site}_dropout": rate for site, rate in _rates(trial, sites).items()}


def _word_vectors(trial: Trial, config: Any) -> dict[str, Any]:
    sites = ["embedding", "hidden"] if config.task == "corrupted" else ["embedding"]
    return {f"{site}_dropout": rate for site, rate in _rates(trial, sites).items()}


def _sentiment(trial: Trial, config: Any) -> dict[str, Any]:
    sites = ["word", "embedding", "channel"]
    if config.architecture == "cnn":
        sites += ["conv", "pool"]
    return {f"{site}_dropout": rate for site, rate in _rates(trial, [*sites, "dense"]).items()}


def _image_head(trial: Trial, config: Any) -> dict[str, Any]:
    layers = [f"dense_{i + 1}" for i in range(len(config.hidden_sizes))]
    rates = _rates(trial, ["input", *layers], f"site_of_{len(layers) + 1}")
    return {
        "input_dropout": rates["input"],
        "dense_dropout": tuple(rates[layer] for layer in layers),
    }


SPACE = Space(
    name="dropout_placement",
    question="Where does dropout go, and at what rate?",
    suggest={
        "char_rnn": _char_rnn,
        "image_head": _image_head,
        "ratings_net": _ratings_net,
        "sentiment": _sentiment,
        "word_vectors": _word_vectors,
    },
)
