"""What a search that pauses trials expects of going on, as the commands print it."""

from __future__ import annotations

import math
from typing import Any

from raysweep.analysis.outlook import expectation, little_is_left, more_budget, why_ended
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest

__all__ = ["next_step", "outlook_record", "outlook_sentences"]


def outlook_record(ledger: Ledger) -> dict[str, Any]:
    """What is expected, as JSON-able values; empty where nothing is."""
    return {"outlook": ledger.outlook} if ledger.outlook else {}


def outlook_sentences(ledger: Ledger) -> list[str]:
    """What is expected of another tenth of the budget, and whether the search ended by it."""
    if not ledger.outlook:
        return []
    return list(
        filter(None, (expectation(ledger.outlook, ledger.metric), why_ended(ledger.outlook)))
    )


def next_step(request: SearchRequest, ledger: Ledger, confirm: str) -> str:
    """What to do after a search that is over.

    Args:
        request: its.
        ledger: its trials.
        confirm: the command that confirms the best.
    """
    if request.budget is None or not ledger.outlook:
        return confirm
    values = [_value(best, ledger) for t in ledger if (best := t.best(ledger.metric, ledger.mode))]
    first = ledger.default.best(ledger.metric, ledger.mode) if ledger.default else None
    default = _value(first, ledger) if first else None
    if little_is_left(ledger.outlook, values, default, ledger.mode):
        return f"little is left to gain here: {confirm}"
    return f"the same command with {more_budget(request.budget)}; or {confirm}"


def _value(best: dict[str, Any], ledger: Ledger) -> float:
    return float(best.get(ledger.metric, math.nan))
