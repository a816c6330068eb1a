"""Prints a data frame: a table for people, JSON for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_frame"]


def print_frame(frame: pd.DataFrame, *, as_json: bool) -> None:
    """Prints every row: as a table, or as a JSON list with an object for each."""
    if as_json:
        print(frame.to_json(orient="records", force_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        numbers = frame[name].dtype.kind in "iuf"
        table.add_column(escape(str(name)), justify="right" if numbers else "left", no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_shown(value)) for value in row))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table, crop=False, width=max(console.width, 20 * len(frame.columns)))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
