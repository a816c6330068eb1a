"""The report's sections on the search itself: how it went, its cost, the test set, what next."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from typing import Any

import numpy as np

from raysweep.analysis.effects.estimate import MIN_TRIALS
from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.report.figures import budget_picture, curves_picture, parallel_picture
from raysweep.analysis.report.page import Cell, Grid, Section
from raysweep.analysis.report.sections import interval_cell
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["cost", "curves", "how_made", "next_steps", "paths", "test_set"]

_LONG = 70  # characters of a title


def paths(trials: Trials) -> Section:
    """Parallel coordinates: what the best tenth has in common."""
    judged = np.flatnonzero(np.isfinite(trials.values))
    if len(judged) < 3 or not trials.columns:
        return Section("paths", "Too few trials to look for what the best have in common")
    order = judged[np.argsort(-trials.sign * trials.values[judged], kind="stable")]
    top = order[: max(1, len(order) // 10)]
    ranked = [effect.field for effect in trials.effects] or [c.name for c in trials.columns]
    by_name = {column.name: column for column in trials.columns}
    said = []
    for name in ranked[:3]:
        values = [v for k in top if (v := by_name[name].values[int(k)]) is not None]
        if not values:
            continue
        if by_name[name].numeric:
            low, high = number(float(min(values))), number(float(max(values)))
            said.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
        else:
            word, count = Counter(values).most_common(1)[0]
            said.append(f"{name} {word} in {count} of {len(values)}")
    plural = f"The best {len(top)} trials have" if len(top) > 1 else "The best trial has"
    title = f"{plural} {', '.join(said)}"
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
        sentences.append(f"{facts.scheduler} stopped {stopped} of {len(trials)} trials early.")
    if best_epoch == ran == int(trials.asked_epochs[trials.best]) and ran > 1:
        sentences.append("It was still improving at the end: more epochs may help.")
    return Section("curves", title, tuple(sentences), pictures=(curves_picture(trials, title),))


def cost(trials: Trials, facts: RunFacts) -> Section:
    """What was spent, what stopping saved, what failed and why."""
    spent = float(trials.hours.sum()) if len(trials) else 0.0
    epochs = trials.table["epochs"].to_numpy(dtype=float) if len(trials) else np.zeros(0)
    stopped = (trials.table["status"] == "stopped").to_numpy() if len(trials) else np.zeros(0, bool)
    each = np.divide(trials.hours, epochs, out=np.zeros(len(trials)), where=epochs > 0)
    saved = float(((trials.asked_epochs - epochs) * each)[stopped].sum())
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
    found = f"The best trial came after {share:.0%} of the time"
    shown = budget_picture(trials, found)
    sentences.append(found + ", in the order in which trials started.")
    grid = Grid(("", "in all"), tuple(rows))
    note = (
        "Time is what trials spent on training and validation; Ray's own and waiting are not in it."
    )
    return Section("cost", title, tuple(sentences), (grid,), (shown,), (note,))


def _hours(hours: float) -> str:
    return f"{hours:.2f} trial-hours" if hours >= 1.0 else f"{60 * hours:.1f} trial-minutes"


def test_set(trials: Trials, facts: RunFacts) -> Section:
    """Test figures as `confirm` logged them, and how many times the test set was opened."""
    log = facts.confirmed or {}
    openings = log.get("test_set_openings", [])
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
    sentences = [f"{each['when']}: {each['command']}" for each in openings]
    grid = Grid(("configuration", "seeds", metric), tuple(rows))
    return Section("test", title, (), (grid,), notes=tuple(sentences))


def next_steps(trials: Trials, facts: RunFacts) -> Section:
    """What to run next: computed from what is known and what is not."""
    steps = [*_unfinished(trials, facts), *_undecided(trials, facts), *_ends(trials)]
    found = trials.certainty
    run = facts.name
    if trials.best is not None and not (facts.confirmed or {}).get("test_set_openings"):
        if found is None or found.gain[found.best] > found.half_width[found.best]:
            why = "to see what the best is worth with fresh seeds"
        else:
            why = "though the best is not surely better than the default: fresh seeds will tell"
        steps.append(f"raysweep confirm {run} — {why}, and on the test set, once.")
    if not steps:
        steps.append("Nothing is open: the question has its answer.")
    first = re.split(" — |: ", steps[0])[0].rstrip(".")
    title = f"Next: {first}" if len(first) <= _LONG else "What to run next"
    return Section("next", title, tuple(steps))


def _unfinished(trials: Trials, facts: RunFacts) -> list[str]:
    steps = []
    if not facts.complete:
        command = facts.experiment.get("command", "the same command")
        steps.append(f"{command} — the search is not over; this goes on with it.")
    if failed := trials.counts().get("failed"):
        numbers = trials.table.loc[trials.table["status"] == "failed", "trial"]
        steps.append(
            f"Read trials/{int(numbers.iloc[0]):05d}/error.txt — {failed} of {len(trials)} trials "
            "failed."
        )
    return steps


def _undecided(trials: Trials, facts: RunFacts) -> list[str]:
    """More trials, where they could still tell something."""
    judged = int(np.isfinite(trials.values).sum())
    if not facts.complete or not facts.request.get("spaces"):
        return []
    if judged < MIN_TRIALS:
        return [f"{_extended(facts, 40)} — {judged} results are too few to say what a field does."]
    if trials.answers is None:
        return []
    # What no single trial can show: a field that is worth less need not be searched.
    unit, noise = Unit(trials.metric), 1.96 * trials.answers.process.luck
    unclear = [e for e in trials.effects if e.verdict == "no measurable difference"]
    most = {e.field: float((e.gain + e.half_width).max()) for e in unclear}
    steps = []
    if wide := {field: bound for field, bound in most.items() if bound > noise}:
        worst = max(wide, key=lambda field: wide[field])
        steps.append(
            f"{_extended(facts, 4 * len(trials))} — {worst} could still be worth up to "
            f"{unit.text(wide[worst])} {unit.name}; four times the trials about halve the "
            "intervals."
        )
    if settled := [field for field in most if field not in wide]:
        steps.append(
            f"Leave {', '.join(settled)} at the default — they are worth less than the "
            f"{unit.text(noise)} {unit.name} by which one seed differs from another."
        )
    return steps


def _extended(facts: RunFacts, num_samples: int) -> str:
    """The run's command for more trials."""
    command = str(facts.experiment.get("command", "raysweep tune"))
    words = shlex.split(command)
    if "--num-samples" in words[:-1]:
        words[words.index("--num-samples") + 1] = str(num_samples)
        return shlex.join(words)
    return f"{command} --num-samples {num_samples}"


def _ends(trials: Trials) -> list[str]:
    """Fields whose best value is the last one that was tried."""
    steps = []
    for effect in trials.effects:
        if effect.verdict not in ("helps", "both") or not isinstance(effect.grid[0], float):
            continue
        place = int(np.where(effect.helps, effect.gain, -np.inf).argmax())
        if place in (0, len(effect.grid) - 1) and effect.grid[place] not in (0.0, 1.0):
            way = "below" if place == 0 else "above"
            value = number(effect.grid[place])
            steps.append(
                f"Search {effect.field} {way} {value} — it was still getting better at the end of "
                "the range."
            )
    return steps


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
