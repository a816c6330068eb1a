"""What a request may ask of its searcher and of its scheduler, and what they do by default."""

from __future__ import annotations

import math
from typing import Any

from raysweep.core.errors import UserError

__all__ = ["check_curves", "check_until", "default_grace"]


def default_grace(request: Any, max_t: int) -> int:
    """Epochs before the first comparison.

    Early comparisons save epochs, but of the first two or three, ranks say little:
    `benchmarks.search_quality` has figures (tpe-asha and tpe-asha-3).
    """
    if request.searches and request.searcher == "curves":
        return 0  # which decides for itself
    quarter = max(1, max_t // 4)
    return max(round(max_t / 16), min(3, quarter)) if request.scheduler == "asha" else quarter


def check_curves(request: Any, base: Any, objective: tuple[str, ...]) -> None:
    """Refuses what goes with other searchers only."""
    if request.scheduler not in ("asha", "none"):
        raise UserError(
            f"--scheduler {request.scheduler}: --searcher curves pauses trials itself; leave "
            "--scheduler out, or use --searcher tpe"
        )
    if request.grace_period or request.reduction_factor != 3:
        raise UserError(
            "--grace-period and --reduction-factor are ASHA's, and --searcher curves decides for "
            "itself how far each trial goes; leave them out, or use --searcher tpe"
        )
    if len(objective) > 1:
        raise UserError(
            "--searcher curves judges by one number, and there are several objectives; use "
            "--searcher tpe"
        )
    if base.epochs is None:
        raise UserError(
            "--searcher curves plans with the number of reports that a trial makes; give it by "
            "--epochs, or use --searcher tpe"
        )


def check_until(request: Any) -> None:
    """Refuses an --until that no search could end by."""
    if request.until is None:
        return
    if not (request.searches and request.searcher == "curves"):
        raise UserError(
            "--until is for --searcher curves, which says what going on is expected to bring; add "
            "that, or use --patience or --target"
        )
    if not 0 < request.until < math.inf:
        raise UserError(
            f"--until {request.until:g}: give a number above 0, in the units of the metric"
        )
