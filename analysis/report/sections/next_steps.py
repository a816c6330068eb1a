"""What to run next, computed from what is known and what is not."""

from __future__ import annotations

import re
import shlex

import numpy as np

from raysweep.analysis.effects.estimate import MIN_TRIALS
from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.outlook import gain_text, little_is_left, more_budget
from raysweep.analysis.report.page import Section
from raysweep.analysis.report.style import number
from raysweep.analysis.report.trials import RunFacts, Trials

__all__ = ["next_steps"]

_MAX_TITLE = 70  # characters


def next_steps(trials: Trials, facts: RunFacts) -> Section:
    """What to run next."""
    steps = [
        *_unfinished(trials, facts),
        *_going_on(trials, facts),
        *_undecided(trials, facts),
        *_ends(trials),
    ]
    certainty = trials.certainty
    run = facts.name
    if trials.best is not None and not (facts.confirmed or {}).get("test_set_openings"):
        if (
            certainty is None
            or certainty.gain[certainty.best] > certainty.half_width[certainty.best]
        ):
            why = "to see what the best is worth with fresh seeds"
        else:
            why = "to see with fresh seeds whether the best is really better than the default"
        steps.append(f"raysweep confirm {run} — {why}, and on the test set, once.")
    if not steps:
        steps.append("Nothing is left to do: the question is answered.")
    first = re.split(" — |: ", steps[0])[0].rstrip(".")
    title = f"Next: {first}" if len(first) <= _MAX_TITLE else "What to run next"
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


def _going_on(trials: Trials, facts: RunFacts) -> list[str]:
    """More of a search that says what more would bring, if that is worth it."""
    if facts.outlook is None or facts.budget is None or not facts.complete:
        return []
    default = trials.values[trials.default] if trials.default is not None else None
    if little_is_left(facts.outlook, trials.values.tolist(), default, trials.mode):
        return []
    command = _with_option(facts, *more_budget(facts.budget).split())
    return [
        f"{command} — another tenth of the budget is expected to improve {trials.metric} by "
        f"{gain_text(facts.outlook['gain'])}."
    ]


def _undecided(trials: Trials, facts: RunFacts) -> list[str]:
    """More trials, where they could still tell something."""
    judged = int(np.isfinite(trials.values).sum())
    if not facts.complete or not facts.request.get("spaces"):
        return []
    if judged < MIN_TRIALS:
        return [
            f"{_extended(facts, 2, 40)} — {judged} results are too few to say what a field does."
        ]
    if trials.model is None:
        return []
    # A field that is worth less than this noise need not be searched: no single trial shows it.
    unit, noise = Unit(trials.metric), 1.96 * trials.model.gaussian_process.residual_std
    unclear = [e for e in trials.effects if e.verdict == "no measurable difference"]
    most = {e.field: float((e.gain + e.half_width).max()) for e in unclear}
    steps = []
    if wide := {field: bound for field, bound in most.items() if bound > noise}:
        worst = max(wide, key=lambda field: wide[field])
        steps.append(
            f"{_extended(facts, 4, 4 * len(trials))} — {worst} could still be worth up to "
            f"{unit.text(wide[worst])} {unit.name}; four times the trials about halve the "
            "intervals."
        )
    if settled := [field for field in most if field not in wide]:
        steps.append(
            f"Leave {', '.join(settled)} at the default — they are worth less than the "
            f"{unit.text(noise)} {unit.name} by which one seed differs from another."
        )
    return steps


def _extended(facts: RunFacts, times: int, num_samples: int) -> str:
    """The run's command for more trials.

    Args:
        facts: of the run.
        times: as many whole trainings as it had, if a budget of these ends it.
        num_samples: trials of other searches.
    """
    name, value = "--num-samples", f"{num_samples}"
    if facts.budget is not None:
        name, value = "--budget", f"{times * facts.budget:g}"
    return _with_option(facts, name, value)


def _with_option(facts: RunFacts, name: str, value: str) -> str:
    """The run's command with another value of an option, and without what would end it at once."""
    command = str(facts.experiment.get("command", "raysweep tune"))
    words = shlex.split(command)
    if "--until" in words[:-1]:
        at = words.index("--until")
        del words[at : at + 2]
        command = shlex.join(words)
    if name in words[:-1]:
        words[words.index(name) + 1] = value
        return shlex.join(words)
    return f"{command} {name} {value}"


def _ends(trials: Trials) -> list[str]:
    """Fields whose best value is the last one that was tried."""
    steps = []
    for effect in trials.effects:
        if effect.verdict not in ("helps", "both") or not isinstance(effect.grid[0], float):
            continue
        best = int(np.where(effect.helps, effect.gain, -np.inf).argmax())
        if best in (0, len(effect.grid) - 1) and effect.grid[best] not in (0.0, 1.0):
            way = "below" if best == 0 else "above"
            value = number(effect.grid[best])
            steps.append(
                f"Search {effect.field} {way} {value} — it was still getting better at the end of "
                "the range."
            )
    return steps
