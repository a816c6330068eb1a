"""What a check comes to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAILED", "NOT_APPLICABLE", "NOT_TRIED", "PASSED", "Line", "Outcome"]

PASSED, FAILED = "passed", "failed"
# The promise is not made for such a model.
NOT_APPLICABLE = "not applicable"
# It could not be told: another check failed that this one builds on, or memory or time ran out.
NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        status: one of the constants above.
        detail: what was seen.
        fix: what to change in the model; empty unless it failed.
    """

    status: str
    detail: str
    fix: str = ""

    @classmethod
    def of(cls, problem: str, detail: str, fix: str) -> Outcome:
        """Failed with this problem; or passed with the detail, where the problem is empty."""
        return cls(FAILED, problem, fix) if problem else cls(PASSED, detail)


@dataclass(frozen=True)
class Line:
    """A check's line of the table.

    Attributes:
        name: of the check.
        outcome: what it found.
        seconds: what it took.
    """

    name: str
    outcome: Outcome
    seconds: float
