"""What a search that pauses trials expects of going on, as the commands print it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from raysweep.analysis.outlook import expectation, little_is_left, more_budget
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["next_step", "outlook_record", "print_outlook"]


def outlook_record(ledger: Ledger) -> dict[str, Any]:
    """What is expected, as JSON-able values; empty where nothing is."""
    return {"outlook": ledger.outlook} if ledger.outlook else {}


def print_outlook(console: Console, ledger: Ledger) -> None:
    """Prints what another tenth of the budget is expected to bring, if anything is known of it."""
    if ledger.outlook:
        console.print(expectation(ledger.outlook, ledger.metric), markup=False)


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
