"""The differences between two requests, field by field, for messages."""

from __future__ import annotations

from typing import Any

__all__ = ["differences"]


def differences(theirs: Any, mine: Any, path: str = "") -> list[str]:
    """Compares nested dictionaries.

    Args:
        theirs: Values by name, of what is there.
        mine: Values by name, of what is wanted now.
        path: Name of the two dictionaries, with dots, in front of their keys.

    Returns:
        One line for each value that differs: `data.split: random there, time now`.
    """
    if isinstance(theirs, dict) and isinstance(mine, dict):
        lines = []
        for key in sorted(set(theirs) | set(mine)):
            name = f"{path}.{key}" if path else key
            lines += differences(theirs.get(key), mine.get(key), name)
        return lines
    return [] if theirs == mine else [f"{path}: {theirs} there, {mine} now"]
