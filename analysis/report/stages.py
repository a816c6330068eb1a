"""What a search that pauses trials decided, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stage", "kind"]


@dataclass(frozen=True)
class Stage:
    """What a trial trained without a pause.

    Attributes:
        trial: its index.
        after: epochs that all trials had had when it was decided.
        start: the epoch that it went on from; 0 of a new trial.
        end: the epoch that it has reached of those that it was sent to.
        why: default, given, spread, random, improve or resume.
        final: the value that was expected of it in the end, and the ends of a 95% interval; None
            where nothing was predicted.
        best: the best value of all trials until then; None where nothing was predicted.
    """

    trial: int
    after: int
    start: int
    end: int
    why: str
    final: tuple[float, float, float] | None = None
    best: float | None = None


def kind(stage: Stage) -> str:
    """default, new or resume."""
    return stage.why if stage.why in ("default", "resume") else "new"
