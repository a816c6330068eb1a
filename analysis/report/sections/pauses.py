"""What a search that pauses trials resumed, and why; where the paused ones would end."""

from __future__ import annotations

import math
from collections import Counter

from raysweep.analysis.outlook import expectation
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.pause_figures import (
    decisions_picture,
    finals_picture,
    promising,
)
from raysweep.analysis.report.sections.wording import listed
from raysweep.analysis.report.stages import Stage, kind
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["pauses"]

_MOST_ROWS = 12
_BEGUN = {
    "given": "were given by you or by an earlier run",
    "spread": "were spread evenly over the space",
    "random": "were drawn at random",
    "improve": "were placed where the model expected most",
}
_SPENT = {
    "default": "trained the default configuration",
    "new": "began new trials",
    "resume": "went on with paused ones",
}


def pauses(trials: Trials, facts: RunFacts) -> list[Section]:
    """Decisions and predictions of a search that pauses trials; nothing of any other search."""
    if not facts.stages or trials.best is None:
        return []
    resumed = {s.trial for s in facts.stages if s.why == "resume"}
    title = f"{len(resumed)} of {len(trials)} trials went on after a pause"
    sentences = [_split(facts), _begun(facts)]
    if outlook := facts.outlook:
        sentences.append(expectation(outlook, trials.metric))
    share = f"{_shares(facts)['resume']:.0%} of all epochs went to resumed trials"
    pictures = [decisions_picture(trials, facts, share)]
    grids = [grid for grid in (_resumed(trials, facts), _expected(trials, facts)) if grid.rows]
    notes = []
    if promising(trials, facts):
        pictures.insert(0, finals_picture(trials, facts, _finals_title(trials, facts)))
        notes.append(
            "Expected values are those of a Gaussian process over all curves, for the best epoch "
            "of a whole training; on recorded curves about 19 of 20 lay within their bands. The "
            "best of many expectations is usually too good."
        )
    count = sum(s.why == "resume" for s in facts.stages)
    if count > _MOST_ROWS:
        notes.append(
            f"The table has the last {_MOST_ROWS} of {count} times that a trial was resumed; "
            "ledger.jsonl has all."
        )
    kept = tuple(filter(None, sentences))
    return [Section("pauses", title, kept, tuple(grids), tuple(pictures), tuple(notes))]


def _shares(facts: RunFacts) -> dict[str, float]:
    """The share of all epochs that each kind of stage had."""
    epochs: Counter[str] = Counter(dict.fromkeys(_SPENT, 0))
    for stage in facts.stages:
        epochs[kind(stage)] += stage.end - stage.start
    total = sum(epochs.values()) or 1
    return {name: count / total for name, count in epochs.items()}


def _split(facts: RunFacts) -> str:
    total = sum(s.end - s.start for s in facts.stages)
    shares = _shares(facts)
    parts = [
        f"{share * total:.0f} ({share:.0%}) {_SPENT[name]}"
        for name, share in shares.items()
        if share or name != "default"
    ]
    return f"Of {total} epochs, {listed(parts)}."


def _begun(facts: RunFacts) -> str:
    counts = Counter(s.why for s in facts.stages if kind(s) == "new")
    parts = [f"{counts[why]} {words}" for why, words in _BEGUN.items() if counts[why]]
    return f"Of the new trials, {listed(parts)}." if parts else ""


def _finals_title(trials: Trials, facts: RunFacts) -> str:
    """Of which paused trial most is expected, beside the best."""
    first = promising(trials, facts)[0]
    return (
        f"Most is expected of trial {first}: {facts.finals[first][0]:.4f} if it were trained "
        f"whole; the best is {trials.values[trials.best]:.4f}"
    )


def _resumed(trials: Trials, facts: RunFacts) -> Grid:
    """A row for each time that a trial was resumed."""
    stages = [s for s in facts.stages if s.why == "resume"][-_MOST_ROWS:]
    head = ("resumed trial", "after epochs of all", "from → to epoch", "why", "reached")
    rows = {trials.number(row): row for row in range(len(trials))}
    cells: list[tuple[Cell | str, ...]] = []
    for stage in stages:
        curve = trials.curves[rows[stage.trial]][: stage.end]
        known = [v for v in curve if math.isfinite(v)]
        reached = (max if trials.mode == "max" else min)(known) if known else math.nan
        source = f"trial {stage.trial}, curve"
        cells.append(
            (
                f"{stage.trial}",
                f"{stage.after}",
                f"{stage.start} → {stage.end}",
                _why(stage),
                Cell(f"{reached:.4f}", source),
            )
        )
    return Grid(head, tuple(cells))


def _why(stage: Stage) -> str:
    if stage.final is None or stage.best is None:
        return "expected to add most to the best"
    middle, low, high = stage.final
    return (
        f"expected to end at {middle:.4f} ({low:.4f} to {high:.4f}); the best was {stage.best:.4f}"
    )


def _expected(trials: Trials, facts: RunFacts) -> Grid:
    """The most promising paused trials, and where they would end."""
    head = ("paused trial", "epochs", "best so far", "expected in the end", "95% band")
    rows = {trials.number(row): row for row in range(len(trials))}
    cells: list[tuple[Cell | str, ...]] = []
    for index in promising(trials, facts):
        middle, low, high = facts.finals[index]
        row = rows[index]
        best = Cell(f"{trials.values[row]:.4f}", f"trial {index}, {trials.metric}")
        epochs = f"{len(trials.curves[row])}"
        band = f"{low:.4f} to {high:.4f}"
        cells.append((f"{index}", epochs, best, f"{middle:.4f}", band))
    return Grid(head, tuple(cells))
