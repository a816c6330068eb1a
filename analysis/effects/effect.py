"""What a field did to the metric, and what two fields did together, with 95% intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Effect", "Interaction", "surest"]

_MIN_SHARE = 0.5  # of the largest gain: what a verdict takes at least


@dataclass(frozen=True)
class Effect:
    """A field's effect on the metric at the full number of epochs, other fields averaged over.

    Attributes:
        field: its name.
        grid: g values, numbers in order or words.
        reference: the value that others are compared with.
        gain: how much better the metric is than at the reference, in its unit, float64 [g]; above 0
            is better, whether the metric is to be small or large.
        half_width: of the 95% interval around each gain, simultaneous over all g, float64 [g].
        tried: what the trials had, one value each.
        log: whether the grid is even in ratios.
        familywise_factor: by how much the interval grows to hold for all fields of the search at
            once.
    """

    field: str
    grid: tuple[Any, ...]
    reference: Any
    gain: np.ndarray
    half_width: np.ndarray
    tried: tuple[Any, ...]
    log: bool
    familywise_factor: float = 1.0

    @property
    def significant(self) -> bool:
        """Whether there is a verdict also where allowance is made for the number of fields."""
        wide = self.half_width * self.familywise_factor
        return bool((_above_zero(self.gain, wide) | _above_zero(-self.gain, wide)).any())

    @property
    def helps(self) -> np.ndarray:
        """Where the whole interval is above 0, bool [g].

        Nowhere, if the effect is less than half of its largest there: close to the reference a
        slope is soon certain, and says little.
        """
        return _above_zero(self.gain, self.half_width)

    @property
    def hurts(self) -> np.ndarray:
        """Where the whole interval is below 0, likewise, bool [g]."""
        return _above_zero(-self.gain, self.half_width)

    @property
    def verdict(self) -> str:
        """helps, hurts, both (some values help, others hurt) or no measurable difference."""
        if self.helps.any():
            return "both" if self.hurts.any() else "helps"
        return "hurts" if self.hurts.any() else "no measurable difference"


@dataclass(frozen=True)
class Interaction:
    """What two fields do together, beyond the sum of what each does by itself.

    Attributes:
        fields: their names.
        grids: g and h values of them.
        gain: better than the sum, in the metric's unit, float64 [g, h]; rows and columns sum to 0.
        half_width: of the 95% interval around each, simultaneous over all cells of all pairs that
            were looked at, float64 [g, h].
    """

    fields: tuple[str, str]
    grids: tuple[tuple[Any, ...], tuple[Any, ...]]
    gain: np.ndarray
    half_width: np.ndarray

    @property
    def measurable(self) -> bool:
        """Whether somewhere the whole interval is on one side of 0."""
        return bool((np.abs(self.gain) > self.half_width).any())

    @property
    def surest_cell(self) -> tuple[int, int]:
        """Row and column of the cell that is the furthest from 0 by its own interval."""
        return divmod(int(_sureness(self.gain, self.half_width).argmax()), self.gain.shape[1])


def surest(effect: Effect | Interaction) -> float:
    """The largest gain, better or worse, in half-widths of its own interval."""
    return float(_sureness(effect.gain, effect.half_width).max())


def _sureness(gain: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(gain) / half_width.clip(1e-12))


def _above_zero(gain: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    sure = np.asarray(gain - half_width > 0)
    if sure.any() and gain[sure].max() < _MIN_SHARE * gain.max():
        return np.zeros_like(sure)
    return sure
