"""A progress line on standard error, for work that takes longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_line"]


@contextmanager
def progress_line(
    text: str, total: float = 1.0, *, shown: bool
) -> Iterator[Callable[[float], None]]:
    """Shows what is being done, how much is done and how long the rest takes, until it is done.

    Args:
        text: What is being done, e.g. `reading aclImdb_v1.tar.gz`.
        total: How much there is to do, in any unit.
        shown: Whether to show the line at all.

    Yields:
        A function to call with how much is done so far, in the same unit.
    """
    from rich import progress as rich_progress
    from rich.console import Console

    bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
    )
    with bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)
