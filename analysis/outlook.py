"""What a search that pauses trials expects of going on, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["expectation", "gain_text", "little_is_left", "more_budget"]

_LITTLE = 0.02  # of what searching has brought so far


def gain_text(gain: float) -> str:
    """An expected improvement with two digits; what is too small for these is called 0."""
    return f"{gain:.2g}" if gain >= 1e-9 else "0"


def expectation(outlook: Mapping[str, Any], metric: str) -> str:
    """What the next tenth of the budget is expected to bring, and whether the search ended by it.

    Args:
        outlook: as `Ledger.outlook` has it.
        metric: its name.
    """
    epochs = f"{outlook['epochs']:g} epoch{'' if outlook['epochs'] == 1 else 's'}"
    expected = f"nother tenth of the budget ({epochs}) is expected to improve {metric} by "
    if "until" not in outlook:
        return f"A{expected}{gain_text(outlook['gain'])}."
    return (
        f"The search ended early: a{expected}{outlook['gain']:.4g}, less than --until "
        f"{outlook['until']:g}. A smaller --until goes on."
    )


def little_is_left(
    outlook: Mapping[str, Any], values: Sequence[float], default: float | None, mode: str
) -> bool:
    """Whether going on with the search is hardly worth it.

    That is, whether the search ended because of its `--until`; or whether another tenth of the
    budget is expected to bring less than 2% of what the search has brought: how much better the
    best is than the default, or than the middle one of all trials if that is more.

    Args:
        outlook: as `Ledger.outlook` has it.
        values: the best value of each trial; NaN without one.
        default: the default configuration's; None without one.
        mode: "min" or "max".
    """
    if "until" in outlook:
        return True
    sign = 1.0 if mode == "max" else -1.0
    known = [sign * v for v in values if math.isfinite(v)]
    if len(known) < 2:
        return False
    others = [float(np.median(known))]
    others += [sign * default] if default is not None and math.isfinite(default) else []
    return bool(outlook["gain"] < _LITTLE * (max(known) - min(others)))


def more_budget(budget: float) -> str:
    """The option for a fifth more, at least a whole training."""
    return f"--budget {math.ceil(max(1.2 * budget, budget + 1) - 1e-9):g}"
