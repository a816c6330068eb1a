"""How the search went: what the best have in common, learning curves, cost."""

from __future__ import annotations

from collections import Counter

import numpy as np

from raysweep.analysis.report.figures import budget_picture, curves_picture, parallel_picture
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["cost", "curves", "paths"]


def paths(trials: Trials) -> Section:
    """Parallel coordinates: what the best tenth has in common."""
    judged = np.flatnonzero(np.isfinite(trials.values))
    if len(judged) < 3 or not trials.columns:
        return Section("paths", "Too few trials to look for what the best have in common")
    order = judged[np.argsort(-trials.sign * trials.values[judged], kind="stable")]
    top = order[: max(1, len(order) // 10)]
    ranked = [effect.field for effect in trials.effects] or [c.name for c in trials.columns]
    by_name = {column.name: column for column in trials.columns}
    ranges = []
    for name in ranked[:3]:
        values = [v for k in top if (v := by_name[name].values[int(k)]) is not None]
        if not values:
            continue
        if by_name[name].numeric:
            low, high = number(float(min(values))), number(float(max(values)))
            ranges.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
        else:
            word, count = Counter(values).most_common(1)[0]
            ranges.append(f"{name} {word} in {count} of {len(values)}")
    plural = f"The best {len(top)} trials have" if len(top) > 1 else "The best trial has"
    title = f"{plural} {', '.join(ranges)}"
    shown = parallel_picture(trials, ranked, title)
    numbers = ", ".join(str(trials.number(int(k))) for k in sorted(top.tolist()))
    note = f"In colour: trial{'s' if len(top) > 1 else ''} {numbers}. Below an axis: not set."
    return Section("paths", title, pictures=(shown,), notes=(note,))


def curves(trials: Trials, facts: RunFacts) -> Section:
    """Learning curves, stopped trials among them."""
    counts = trials.counts()
    if trials.best is None:
        return Section("curves", "No trial has finished an epoch yet")
    best_epoch = int(np.argmax(trials.sign * np.array(trials.curves[trials.best]))) + 1
    ran = len(trials.curves[trials.best])
    title = f"The best trial was at its best after epoch {best_epoch} of {ran}"
    sentences = []
    if stopped := counts.get("stopped", 0):
        of_all = f"{stopped} of {len(trials)} trials"
        sentences.append(
            f"{facts.scheduler} stopped {of_all} early."
            if facts.budget is None
            else f"{of_all} were paused and were not promising enough to go on."
        )
    if best_epoch == ran == int(trials.requested_epochs[trials.best]) and ran > 1:
        sentences.append("It was still improving at the end: more epochs may help.")
    return Section("curves", title, tuple(sentences), pictures=(curves_picture(trials, title),))


def cost(trials: Trials, facts: RunFacts) -> Section:
    """What was spent, what stopping saved, what failed and why."""
    spent = float(trials.hours.sum()) if len(trials) else 0.0
    epochs = trials.table["epochs"].to_numpy(dtype=float) if len(trials) else np.zeros(0)
    stopped = (trials.table["status"] == "stopped").to_numpy() if len(trials) else np.zeros(0, bool)
    epoch_hours = np.divide(trials.hours, epochs, out=np.zeros(len(trials)), where=epochs > 0)
    saved = float(((trials.requested_epochs - epochs) * epoch_hours)[stopped].sum())
    whole = spent + saved
    title = f"{_hours(spent)} of trials"
    if saved:
        title += (
            f"; stopping early saved {_hours(saved)}, {saved / whole:.0%} of what all would take"
        )
    rows: list[tuple[Cell | str, ...]] = [(k, str(v)) for k, v in trials.counts().items()]
    rows += [
        ("epochs run", f"{epochs.sum():.0f}"),
        ("trial time", _hours(spent)),
        ("core time", _hours(spent * float(facts.request["cpus"]))),
    ]
    sentences = []
    failures = Counter(
        str(error)
        for error, status in zip(trials.table.get("error", []), trials.table.get("status", []))  # noqa: B905
        if status == "failed"
    )
    for reason, count in failures.most_common(5):
        plural = "s" if count > 1 else ""
        sentences.append(f"{count} trial{plural} failed: {reason or 'for no known reason'}.")
    if trials.best is None:
        return Section("cost", title, tuple(sentences), (Grid(("", ""), tuple(rows)),))
    after = float(trials.hours[: trials.best + 1].sum())
    share = after / spent if spent else 1.0
    when = f"The best trial came after {share:.0%} of the time"
    shown = budget_picture(trials, when)
    sentences.append(when + ", in the order in which trials started.")
    grid = Grid(("", "in all"), tuple(rows))
    note = (
        "Time is what trials spent on training and validation; Ray's own and waiting are not in it."
    )
    return Section("cost", title, tuple(sentences), (grid,), (shown,), (note,))


def _hours(hours: float) -> str:
    return f"{hours:.2f} trial-hours" if hours >= 1.0 else f"{60 * hours:.1f} trial-minutes"
