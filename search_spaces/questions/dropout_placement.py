"""Where does dropout go, and how much of it?

Three ways to place it, each with the rates that it needs and no others: the same rate everywhere,
one site only, or every site on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raysweep.search_spaces.fields import bounds, gather, searched, sites
from raysweep.search_spaces.space import Space, Trial

__all__ = ["SPACE"]

_LOWEST, _HIGHEST = 0.05, 0.8


def _suggest(trial: Trial, config: Any) -> dict[str, Any]:
    where = sites(config, "dropout")
    names = [site for each in where.values() for site in each]
    layered = any(isinstance(getattr(config, name), tuple) for name in where)
    one_site = "site"
    if layered and searched(config, "hidden_sizes"):
        # With layers that come and go; Optuna wants a param to have the same choices in all trials.
        one_site = f"site_of_{len(names)}"
    limits = [bounds(config, name, _LOWEST, _HIGHEST) for name in where]
    low, high = max(low for low, _ in limits), min(high for _, high in limits)
    return gather(config, where, _rates(trial, names, one_site, (low, high)))


def _rates(
    trial: Trial, sites: Sequence[str], one_site: str, limits: tuple[float, float]
) -> dict[str, float]:
    """A dropout rate for each site; 0 where dropout is not placed.

    Args:
        trial: suggests the values.
        sites: in order.
        one_site: the param that says which one site has dropout.
        limits: the lowest and the highest rate.
    """
    rates = dict.fromkeys(sites, 0.0)
    placement = trial.suggest_categorical("placement", ["everywhere", "one_site", "free"])
    if placement == "everywhere":
        return dict.fromkeys(sites, trial.suggest_float("rate_everywhere", *limits))
    if placement == "one_site":
        site = trial.suggest_categorical(one_site, list(sites))
        return rates | {site: trial.suggest_float("rate_one_site", *limits)}
    for site in sites:
        if trial.suggest_categorical(f"use_{site}", [False, True]):
            rates[site] = trial.suggest_float(f"rate_{site}", *limits)
    return rates


SPACE = Space(
    name="dropout_placement",
    question="Where does dropout go, and at what rate?",
    suggest=_suggest,
    needs=("*_dropout|dropout",),
)
