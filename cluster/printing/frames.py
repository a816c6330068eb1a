"""Prints a data frame: a table for people, JSON for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_frame"]


def print_frame(frame: pd.DataFrame, *, as_json: bool) -> None:
    """Prints every row: as a table, or as a JSON list with an object for each."""
    if as_json:
        print(frame.to_json(orient="records", force_ascii=False))
    else:
        print(frame.to_string(index=False, float_format="{:.4g}".format))
