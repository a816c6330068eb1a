"""What `check` prints: a line a check, and under each that failed how to fix it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_checks"]

_COLOURS = {"passed": "green", "failed": "red", "not applicable": "dim", "not tried": "yellow"}


def print_checks(task: str, table: pd.DataFrame, *, as_json: bool) -> None:
    """Prints the table that `raysweep.check` returns.

    Args:
        task: what was checked.
        table: a row a check.
        as_json: one JSON object instead: target, passed, checks.
    """
    passed = not (table["result"] == "failed").any()
    if as_json:
        checks = table.to_dict("records")
        print(json.dumps({"target": task, "passed": passed, "checks": checks}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for name in ("check", "result"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("what was seen", overflow="fold")
    for row in table.itertuples():
        seen = Text(str(row.detail))
        if row.fix:
            seen.append("\n→ " + str(row.fix), style="bold")
        shown.add_row(str(row.check), Text(str(row.result), style=_COLOURS[str(row.result)]), seen)
    console = Console(highlight=False)
    console.print(shown)
    counts = Counter(map(str, table["result"]))
    told = ", ".join(f"{counts[name]} {name}" for name in _COLOURS if counts[name])
    console.print(f"\n{task}: {told} ({table['seconds'].sum():.0f} s)", markup=False)
