"""One check of `raysweep doctor`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        name: what was looked at.
        ok: True; False if jobs will fail; None if they may.
        detail: what was found.
        fix: what to do, where something is to be done.
    """

    name: str
    ok: bool | None
    detail: str
    fix: str = ""
