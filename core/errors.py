"""The exception for mistakes that the user can fix: shown without a traceback, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """An error that the user made and can fix.

    The message says what is wrong, where (file, line, field) and how to fix it. The command line
    prints it alone and ends with exit code 2; a program can catch it like any exception.
    """


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Returns the end of an error message about a wrong name.

    Args:
        name: What was typed.
        candidates: The right names.

    Returns:
        `; did you mean 'x'?` for the most similar one; where none is similar, a list of all; empty
        where there are none.
    """
    candidates = sorted(candidates)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(candidates)}" if candidates else ""
