"""Test figures as `confirm` logged them."""

from __future__ import annotations

from raysweep.analysis.report.page import Grid, Section
from raysweep.analysis.report.sections.standing import interval_cell
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["test_set"]


def test_set(trials: Trials, facts: RunFacts) -> Section:
    """Test figures as `confirm` logged them, and how many times the test set was opened."""
    log = facts.confirmed or {}
    openings = log.get("test_set_openings", [])
    if facts.measures_itself:
        return Section(
            "test",
            "What was measured is what your code reports",
            ("A sealed test set, opened by `raysweep confirm`, is for a Learner only.",),
        )
    if not openings:
        return Section(
            "test",
            "The test set has not been opened",
            ("Every figure here is of validation data; `raysweep confirm` opens the test set.",),
        )
    times = "once" if len(openings) == 1 else f"{len(openings)} times"
    title = f"The test set was opened {times}"
    metric = trials.metric.replace("val_", "test_", 1)
    rows = [
        (
            record["label"]
            + (", trained on validation data too" if key.endswith("-refit") else ""),
            str(len(record["seeds"])),
            interval_cell(record, metric) if metric in record else "not measured",
        )
        for key, records in log["results"].items()
        for record in records
    ]
    sentences = [f"{opening['when']}: {opening['command']}" for opening in openings]
    grid = Grid(("configuration", "seeds", metric), tuple(rows))
    return Section("test", title, (), (grid,), notes=tuple(sentences))
