"""One check of `raysweep doctor`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CheckResult"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: what was checked.
        ok: True; False if jobs will fail; None if they may.
        detail: what the check saw.
        fix: what to do about it; empty if nothing is to be done.
    """

    name: str
    ok: bool | None
    detail: str
    fix: str = ""
