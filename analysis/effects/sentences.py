"""Effects in words and units, all of them computed from the figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from raysweep.analysis.effects.effect import Effect

__all__ = [
    "Unit",
    "effect_sentence",
    "effect_title",
    "of_the_first_trial",
]

# Longer ones first.
_FIRST_TRIAL = {
    "the default configuration": "the first trial",
    "the default": "the first trial",
    "by default": "in the first trial",
    "against default": "against the first trial",
}


class Unit:
    """How differences of a metric are written: accuracies in points, which are hundredths.

    Args:
        metric: the metric's name.
    """

    def __init__(self, metric: str) -> None:
        shares = metric.endswith("accuracy")
        self.factor = 100.0 if shares else 1.0
        self.name = f"points of {metric}" if shares else metric
        self.word = " points" if shares else ""
        self._decimals = 2 if shares else 4

    def text(self, difference: float, *, sign: bool = False) -> str:
        """A difference, also with a plus sign if `sign`, e.g. `+0.62`."""
        return f"{self.factor * difference:{'+' if sign else ''}.{self._decimals}f}"

    def interval(self, difference: float, half_width: float, *, sign: bool = True) -> str:
        """A difference ± the half-width of its interval, e.g. `+0.62 ± 0.40 points`."""
        return f"{self.text(difference, sign=sign)} ± {self.text(half_width)}{self.word}"


def effect_title(effect: Effect) -> str:
    """Whether a field's values help or hurt, and where, as a title has it."""
    if effect.verdict == "no measurable difference":
        return f"{effect.field}: {effect.verdict}"
    masks = {"helps": effect.helps, "hurts": effect.hurts}
    verdicts = [word + _where(effect, mask) for word, mask in masks.items() if mask.any()]
    return f"{effect.field} {' and '.join(verdicts)}"


def effect_sentence(effect: Effect, metric: str) -> str:
    """Says whether a field's values help or hurt, where, and by how much ± its 95% interval."""
    unit, against = Unit(metric), _against(effect)
    if effect.verdict == "no measurable difference":
        low, high = (effect.gain - effect.half_width).min(), (effect.gain + effect.half_width).max()
        return (
            f"{effect.field}: no measurable difference; between {unit.text(low, sign=True)} and "
            f"{unit.text(high, sign=True)}{unit.word} better than {against}"
        )
    parts = []
    if effect.helps.any():
        best = int(np.where(effect.helps, effect.gain, -np.inf).argmax())
        gain = _gain_at(effect, best, unit, metric)
        parts.append(f"helps{_where(effect, effect.helps)}: {gain} better")
    if effect.hurts.any():
        worst = int(np.where(effect.hurts, effect.gain, np.inf).argmin())
        gain = _gain_at(effect, worst, unit, metric)
        parts.append(f"hurts{_where(effect, effect.hurts)}: {gain} worse")
    return f"{effect.field} " + "; ".join(parts) + f" than {against}"


def _gain_at(effect: Effect, index: int, unit: Unit, metric: str) -> str:
    gain, half = abs(effect.gain[index]), effect.half_width[index]
    at = "" if effect.reference is False else f"at {_value(effect.grid[index])}, "
    return f"{at}{metric} is {unit.interval(gain, half, sign=False)}"


def _where(effect: Effect, mask: np.ndarray) -> str:
    """Where along the grid: a range of numbers, or the words."""
    values = [v for v, inside in zip(effect.grid, mask, strict=True) if inside]
    if isinstance(effect.reference, bool):
        return ""
    if isinstance(effect.reference, str):
        return " as " + ", ".join(map(str, values))
    indices = np.flatnonzero(mask)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return " and".join(_range(effect, run) for run in runs)


def _range(effect: Effect, indices: np.ndarray) -> str:
    first, last = effect.grid[indices[0]], effect.grid[indices[-1]]
    if len(indices) == 1:
        return f" at {_value(first)}"
    if indices[-1] == len(effect.grid) - 1:
        return f" from {_value(first)}"
    return f" from {_value(first)} to {_value(last)}"


def of_the_first_trial(text: str) -> str:
    """A text about a search without a default: its first trial is what others are compared with."""
    if text == "default":  # the head of a column
        return "first trial"
    for default, first in _FIRST_TRIAL.items():
        text = text.replace(default, first)
    return text


def _against(effect: Effect) -> str:
    if effect.reference is False:
        return "without"
    if "dropout" in effect.field and effect.reference == 0.0:
        return "with none"
    if effect.tried[0] is None:
        return f"at {_value(effect.reference)}, the middle of what was tried"
    return f"at {_value(effect.reference)}, the default"


def _value(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
