"""What spaces read from a configuration: which fields it has, and which values to try for each.

A space asks for fields by name, so that it covers every model that has them. Where its own range
does not suit a model, the model's configuration says so in `TrainingConfig.search_ranges`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["bounds", "choices", "gather", "own_range", "searched", "sites", "why_not"]


def own_range(config: Any, name: str) -> Any:
    """What a configuration itself says is to be tried for a field; `...` where it says nothing."""
    return _own(config).get(name, ...)


def searched(config: Any, pattern: str) -> list[str]:
    """The fields of a configuration that spaces may search, by a pattern.

    Args:
        config: the configuration so far.
        pattern: names or endings such as `*_l2`, alternatives with a | between them.

    Returns:
        Their names: those with ranges of the configuration's own first, in the order of those, then
        the others in the order of the fields. That order is the one in which a trial is asked.
    """
    own = _own(config)
    names = _matching(config, pattern)
    ordered = [*(name for name in own if name in names), *(n for n in names if n not in own)]
    return [name for name in ordered if own.get(name, ...) is not None]


def why_not(config: Any, needs: Sequence[str]) -> str:
    """Why a configuration lacks what a space needs, in words; empty where it has all of it."""
    reasons = []
    for pattern in needs:
        if searched(config, pattern):
            continue
        if there := _matching(config, pattern):
            verb = "is" if len(there) == 1 else "are"
            reasons.append(f"its {' and '.join(there)} {verb} not to be searched as it is set")
        else:
            reasons.append(f"it has no field {pattern.replace('|', ' or ')}")
    return ", and ".join(reasons)


def bounds(config: Any, name: str, low: float, high: float) -> tuple[Any, Any]:
    """The lowest and the highest value to try.

    Args:
        config: the configuration so far; its own range goes before the space's.
        name: of the field.
        low: the space's own lowest value, as far as the field's limits allow it.
        high: likewise the highest.
    """
    own = own_range(config, name)
    if isinstance(own, tuple):
        return own
    limits = _metadata(config, name)
    lowest, highest = limits.get("low"), limits.get("high")
    high = high if highest is None else min(high, type(high)(highest))
    low = low if lowest is None else max(low, type(low)(lowest))
    return min(low, high), high


def choices(config: Any, name: str, usual: Sequence[Any] = ()) -> list[Any]:
    """The values to choose from: the configuration's own, or the usual ones that the field takes.

    Args:
        config: the configuration so far.
        name: of the field.
        usual: the space's own; all that the field takes by default.
    """
    own = own_range(config, name)
    if isinstance(own, list):
        return list(own)
    limits = _metadata(config, name)
    taken = limits.get("choices") or usual
    low, high = limits.get("low"), limits.get("high")
    fitting = [
        value
        for value in usual
        if value in taken and (low is None or value >= low) and (high is None or value <= high)
    ]
    return fitting or list(taken)


def sites(config: Any, ending: str) -> dict[str, list[str]]:
    """Where in a network the fields of one kind act.

    Args:
        config: the configuration so far.
        ending: of the fields, e.g. `dropout`.

    Returns:
        By field the names of its sites: `input` of `input_dropout`, and of a field with a value for
        each layer `dense_1`, `dense_2`, … as many as there are `hidden_sizes`.
    """
    found = {}
    for name in searched(config, f"*_{ending}|{ending}"):
        stem, value = name.removesuffix(f"_{ending}"), getattr(config, name)
        if isinstance(value, tuple):
            layers = len(getattr(config, "hidden_sizes", value))
            found[name] = [f"{stem}_{number}" for number in range(1, layers + 1)]
        else:
            found[name] = [stem]
    return found


def gather(
    config: Any, where: Mapping[str, Sequence[str]], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of `sites`, given the value of each site."""
    return {
        name: tuple(values[each] for each in own)
        if isinstance(getattr(config, name), tuple)
        else values[own[0]]
        for name, own in where.items()
    }


def _own(config: Any) -> Mapping[str, Any]:
    asked = getattr(config, "search_ranges", None)
    return {} if asked is None else asked()


def _matching(config: Any, pattern: str) -> list[str]:
    names = [each.name for each in dataclasses.fields(config)]
    words = pattern.split("|")
    return [name for name in names if any(fnmatchcase(name, word) for word in words)]


def _metadata(config: Any, name: str) -> Mapping[str, Any]:
    return next(each.metadata for each in dataclasses.fields(config) if each.name == name)
