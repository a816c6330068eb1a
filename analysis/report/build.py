"""Puts a report together, of one run or of several beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raysweep.analysis.effects.sentences import Unit, of_the_first_trial
from raysweep.analysis.reference import Reference
from raysweep.analysis.report.page import Cell, Grid, Page, Section
from raysweep.analysis.report.sections.effects import effects, importances, pairs
from raysweep.analysis.report.sections.front import front
from raysweep.analysis.report.sections.headline import headline
from raysweep.analysis.report.sections.how_made import how_made
from raysweep.analysis.report.sections.next_steps import next_steps
from raysweep.analysis.report.sections.pauses import pauses
from raysweep.analysis.report.sections.questions import placement, widths
from raysweep.analysis.report.sections.ranking import ranking
from raysweep.analysis.report.sections.search import cost, curves, paths
from raysweep.analysis.report.sections.standing import standing
from raysweep.analysis.report.sections.test_set import test_set
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["Subject", "build_page"]


@dataclass(frozen=True)
class Subject:
    """A run to report on.

    Attributes:
        facts: what is known besides the trials.
        trials: its table.
        references: published results of the same network on the same data.
    """

    facts: RunFacts
    trials: Trials
    references: tuple[Reference, ...] = ()


def build_page(subjects: Sequence[Subject]) -> Page:
    """The page of one run, or of several with a comparison first.

    Args:
        subjects: at least one.
    """
    questions = dict.fromkeys(q for subject in subjects for q in subject.facts.questions)
    title = " ".join(questions) or "One configuration, trained"
    if len(subjects) == 1:
        return Page(title, tuple(_sections(subjects[0])), _footer(subjects))
    parts = {s.facts.name: tuple(_of_run(s.facts.name, _sections(s))) for s in subjects}
    return Page(title, (_comparison(subjects),), _footer(subjects), parts)


def _sections(subject: Subject) -> list[Section]:
    trials, facts = subject.trials, subject.facts
    sections = [
        _state(trials, facts),
        headline(trials, facts),
        standing(trials, facts, subject.references),
        *front(trials),
        test_set(trials, facts),
        *placement(trials, facts),
        *widths(trials, facts),
        ranking(trials),
        importances(trials),
        effects(trials),
        pairs(trials),
        paths(trials),
        curves(trials, facts),
        *pauses(trials, facts),
        cost(trials, facts),
        next_steps(trials, facts),
        how_made(trials, facts),
    ][int(facts.complete and "failed" not in trials.counts()) :]
    return sections if trials.has_default else [_of_the_first_trial(s) for s in sections]


def _of_the_first_trial(section: Section) -> Section:
    """The section in the words of a search that had no default configuration."""

    def cell(value: Cell | str) -> Cell | str:
        if isinstance(value, str):
            return of_the_first_trial(value)
        return replace(value, text=of_the_first_trial(value.text))

    grids = tuple(
        replace(
            grid,
            head=tuple(map(of_the_first_trial, grid.head)),
            rows=tuple(tuple(map(cell, row)) for row in grid.rows),
        )
        for grid in section.grids
    )
    return replace(
        section,
        title=of_the_first_trial(section.title),
        sentences=tuple(map(of_the_first_trial, section.sentences)),
        grids=grids,
        notes=tuple(map(of_the_first_trial, section.notes)),
    )


def _of_run(name: str, sections: Sequence[Section]) -> list[Section]:
    """Sections whose pictures have the run's name, among those of several runs."""
    return [
        replace(
            section,
            pictures=tuple(replace(p, name=f"{name}-{p.name}") for p in section.pictures),
        )
        for section in sections
    ]


def _state(trials: Trials, facts: RunFacts) -> Section:
    """What a reader must know first of a run that is not over, or that had failures."""
    counts = ", ".join(f"{n} {status}" for status, n in trials.counts().items()) or "no trials yet"
    requested = facts.experiment.get("num_samples")
    if facts.complete:
        return Section("state", f"Not all trials came to a result: {counts}")
    title = f"This search is not over: {counts}" + (f", {requested} asked for" if requested else "")
    return Section("state", title, ("What follows is what is known so far.",))


def _comparison(subjects: Sequence[Subject]) -> Section:
    """A row a run."""
    rows: list[tuple[Cell | str, ...]] = []
    for subject in subjects:
        trials, name = subject.trials, subject.facts.name
        cells: list[Cell | str] = []
        for row in (trials.best, trials.default):
            if row is None:
                cells.append("none")
                continue
            source = f"{name}: trial {trials.number(row)}, {trials.metric}"
            cells.append(Cell(f"{trials.values[row]:.4f}", source))
        certainty, unit = trials.certainty, Unit(trials.metric)
        gain = "unknown"
        if certainty is not None:
            best = certainty.best
            gain = unit.interval(certainty.gain[best], certainty.half_width[best])
        mattered = [effect.field for effect in trials.effects if effect.significant]
        hours = f"{float(trials.hours.sum()):.2f}" if len(trials) else "0"
        rows.append((name, trials.metric, *cells, gain, str(len(trials)), hours,
                     ", ".join(mattered) or "nothing measurable"))  # fmt: skip
    head = ("run", "metric", "best", "default", "better, luck taken out", "trials", "hours",
            "what mattered")  # fmt: skip
    note = "Hours are trial-hours."
    return Section(
        "comparison", _comparison_title(subjects), (), (Grid(head, tuple(rows)),), (), (note,)
    )


def _comparison_title(subjects: Sequence[Subject]) -> str:
    """The best run, where all go by the same metric and the same data."""
    metrics = {subject.trials.metric for subject in subjects}
    data = {str(s.facts.experiment.get("data_fingerprint")) for s in subjects}
    judged = [s for s in subjects if s.trials.best is not None]
    if len(metrics) > 1 or len(data) > 1 or not judged:
        why = "metrics" if len(metrics) > 1 else "data"
        return f"{len(subjects)} runs side by side; their {why} differ, so that none is the best"
    best = [s.trials.sign * s.trials.values[s.trials.best] for s in judged]
    first = judged[int(np.argmax(best))]
    best_value, metric = f"{first.trials.values[first.trials.best]:.4f}", first.trials.metric
    return f"Of {len(subjects)} runs, {first.facts.name} has the best {metric}: {best_value}"


def _footer(subjects: Sequence[Subject]) -> str:
    """Where the figures come from."""
    names = ", ".join(subject.facts.name for subject in subjects)
    return (
        f"Every figure is computed from the table of trials (trials.parquet) of {names}, a row a "
        "trial; figures of fresh seeds and of the test set are those that confirm.json holds. "
        "Figures underlined with dots say their row and column when pointed at."
    )
