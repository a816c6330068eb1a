"""The one exception that means "you can fix this": shown without a traceback, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """An error that the person at the keyboard caused and can fix.

    The message says what is wrong, where (file, line, field) and how to fix it. The command line
    prints it alone and ends with exit code 2; a program can catch it like any exception.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the closest known name, or the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
