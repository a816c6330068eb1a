"""The best trial beside the default, fresh seeds and published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.reference import Reference
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["interval_cell", "measured_cell", "standing"]


def standing(trials: Trials, facts: RunFacts, references: Sequence[Reference]) -> Section:
    """Best, default and published reference side by side."""
    best, default = trials.best, trials.default
    unit = Unit(trials.metric)
    if best is None:
        title = "Nothing to set beside the default yet"
    elif best == default:
        title = f"None of {len(trials) - 1} other trials did better than the default"
    elif default is None:
        title = "The best trial, without a default to compare with"
    else:
        gap = trials.sign * (trials.values[best] - trials.values[default])
        title = (
            f"Best against default: {unit.text(gap)}{unit.word} better, before luck is taken out"
        )
    rows: list[tuple[Cell | str, ...]] = []
    certainty = trials.certainty
    measured = [measured_cell(trials, row) for row in (best, default)]
    rows.append((f"{trials.metric}, one seed", *measured, ""))
    if certainty is not None:
        gain, half = certainty.gain[certainty.best], certainty.half_width[certainty.best]
        interval = unit.interval(gain, half)
        rows.append(("better than the default, luck taken out", interval, "0", ""))
    rows += _confirmed_rows(trials, facts, references)
    if best is not None:
        rows += _differing(trials, best, default)
    notes = ["Intervals hold the true value with 95% probability; single seeds have none."]
    notes += [
        f"Published: {r.title}, {r.metric} {r.value:g} on {r.measured_on}, where it was chosen too."
        for r in references
    ]
    if not references:
        notes.append("No published result is known for this network and these data.")
    head = ("", "best", "default", "published")
    width = len(head) if references else len(head) - 1
    grid = Grid(head[:width], tuple(row[:width] for row in rows))
    return Section("standing", title, grids=(grid,), notes=tuple(notes))


def measured_cell(trials: Trials, row: int | None) -> Cell:
    """The metric of the trial in a row, and where the table has it; `none` without a trial."""
    if row is None:
        return Cell("none")
    return Cell(f"{trials.values[row]:.4f}", f"trial {trials.number(row)}, {trials.metric}")


def _confirmed_rows(
    trials: Trials, facts: RunFacts, references: Sequence[Reference]
) -> list[tuple[Cell | str, ...]]:
    """Mean ± interval of fresh seeds, as `confirm` wrote them down, validation and test."""
    logged = list((facts.confirmed or {}).get("results", {}).values())
    published = {f"test_{r.metric}": f"{r.value:g}" for r in references[:1]}
    test = trials.metric.replace("val_", "test_", 1)
    if not logged or trials.best is None:
        return [(name, "not opened", "not opened", value) for name, value in published.items()]
    by_trial = {record["trial"]: record for records in logged for record in records}
    rows: list[tuple[Cell | str, ...]] = []
    for name in dict.fromkeys((trials.metric, test)):
        cells: list[Cell | str] = []
        for row in (trials.best, trials.default):
            record = by_trial.get(trials.number(row)) if row is not None else None
            have = record is not None and name in record
            cells.append(interval_cell(record, name) if record and have else "not measured")
        rows.append((f"{name}, fresh seeds", *cells, published.pop(name, "")))
    return [*rows, *((name, "", "", value) for name, value in published.items())]


def interval_cell(record: Mapping[str, Any], name: str) -> Cell:
    """Mean ± interval of a metric, and where confirm.json has it."""
    figure = record[name]
    text = f"{figure['mean']:.4f} ± {figure['interval_95']:.4f}"
    return Cell(text, f"confirm.json, {record['label']}, {name}")


def _differing(trials: Trials, best: int, default: int | None) -> list[tuple[Cell | str, ...]]:
    """The fields in which best and default differ."""
    rows: list[tuple[Cell | str, ...]] = []
    for name, value in trials.configs[best].items():
        other = trials.configs[default][name] if default is not None else None
        if name in trials.fields or value != other:
            mine = Cell(number(value), f"trial {trials.number(best)}, config.{name}")
            theirs = Cell(number(other), f"trial 0, config.{name}") if default is not None else ""
            rows.append((name, mine, theirs, ""))
    return rows
