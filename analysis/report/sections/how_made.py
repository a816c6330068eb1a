"""What it takes to run the search again."""

from __future__ import annotations

from typing import Any

from raysweep.analysis.report.page import Grid, Section
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["how_made"]


def how_made(trials: Trials, facts: RunFacts) -> Section:
    """Command, seeds, versions, data: what it takes to run it again."""
    experiment = facts.experiment
    versions = ", ".join(f"{k} {v}" for k, v in experiment.get("versions", {}).items())
    request = facts.request
    pairs: list[tuple[str, Any]] = [
        ("command", experiment.get("command", "")),
        ("data", experiment.get("data_description", "")),
        ("data fingerprint", experiment.get("data_fingerprint", "")),
        ("searcher, scheduler", f"{request['searcher']}, {facts.scheduler}"),
        ("seed", request["seed"]),
        ("started", experiment.get("created", "")),
        ("versions", f"Python {experiment.get('python', '')}, {versions}"),
        ("commit", experiment.get("git_commit") or "unknown"),
    ]
    rows = tuple((name, str(value)) for name, value in pairs)
    return Section("how", "How this was made", grids=(Grid(("", ""), rows),))
