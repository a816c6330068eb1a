"""Several objectives: the trials that nothing beats, and how the search came to them."""

from __future__ import annotations

import numpy as np

from raysweep.analysis.pareto.front import (
    hypervolume_curve,
    non_domination_ranks,
    reference_box,
)
from raysweep.analysis.report.front import front_picture, hypervolume_picture
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.sections.wording import listed
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import Trials

__all__ = ["front"]

_MOST_FIELDS = 4
_MOST = 0.95


def front(trials: Trials) -> list[Section]:
    """The Pareto front, its picture and the hypervolume over trials; none for one metric alone."""
    names = [each.name for each in trials.objectives]
    if len(names) < 2:
        return []
    known = np.flatnonzero(np.isfinite(trials.losses).all(axis=1))
    if not len(known):
        return [Section("front", "No trial has a result that keeps to the constraints yet")]
    losses = trials.losses[known]
    rows = known[non_domination_ranks(losses) == 0]
    rows = rows[np.argsort(trials.losses[rows, 0], kind="stable")]
    count = f"{len(rows)} of {len(trials)} trials are" if len(rows) > 1 else "One trial is"
    title = f"{count} on the Pareto front of {listed(names)}"
    default = [] if trials.default is None else [trials.losses[trials.default]]
    box = reference_box(losses, default)
    shares = hypervolume_curve(trials.losses, box)
    first = trials.number(int(np.argmax(shares >= _MOST * shares[-1])))
    reached = (
        f"The front covers {shares[-1]:.0%} of the box between the best and the reference; with "
        f"trial {first} it had {_MOST:.0%} of that"
    )
    sentences = ["Of these, none is beaten by another one in every objective.", f"{reached}."]
    if trials.default is not None:
        on = trials.default in rows
        sentences.append(f"The default is {'on the front too' if on else 'not on the front'}.")
    signs = [1.0 if each.mode == "min" else -1.0 for each in trials.objectives]
    corner = ", ".join(f"{name} {number(float(v * s))}" for name, v, s in zip(names, box[1], signs))  # noqa: B905
    notes = [
        f"Reference of the hypervolume: {corner}; a tenth of the range beyond the worst on the "
        "front and of the default."
    ]
    if trials.constraints:
        broke = int((~trials.feasible & np.isfinite(trials.reported)).sum())
        limits = " and ".join(map(str, trials.constraints))
        if broke:
            notes.append(f"Trials that do not keep to {limits} are left out: {broke}.")
    return [
        Section(
            "front",
            title,
            tuple(sentences),
            (_grid(trials, rows.tolist(), names),),
            (
                front_picture(trials, rows.tolist(), title),
                hypervolume_picture(trials, shares, reached),
            ),
            tuple(notes),
        )
    ]


def _grid(trials: Trials, rows: list[int], names: list[str]) -> Grid:
    """A row for each trial of the front: objectives, then the fields that matter most."""
    ranked = [effect.field for effect in trials.effects if effect.field in trials.fields]
    fields = (ranked or trials.fields)[:_MOST_FIELDS]
    lines: list[tuple[Cell | str, ...]] = []
    for row in rows:
        trial = trials.number(row)
        cells = [
            Cell(_text(float(trials.table[name].iloc[row])), f"trial {trial}, {name}")
            for name in names
        ]
        values = (number(trials.configs[row][field]) for field in fields)
        lines.append((f"trial {trial}", *cells, *values))
    return Grid(("", *names, *fields), tuple(lines))


def _text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"
