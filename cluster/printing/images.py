"""Prints classified images: a line for each, and how many are of each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from raysweep.cluster.printing.texts import percent

if TYPE_CHECKING:
    from rich.text import Text

    from raysweep.cluster.models.images import ClassifiedImage

__all__ = ["print_images"]

_NOT_READ = "not read"


def print_images(images: Sequence[ClassifiedImage], top: int = 2) -> None:
    """Prints each image's likeliest classes, and for several images the counts.

    Args:
        images: One or more.
        top: How many classes to show of each, at least 1.
    """
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for line in _lines(images, top):
        console.print(line)
    if len(images) > 1:
        console.print()
        console.print(_counts(images), markup=False)


def _lines(images: Sequence[ClassifiedImage], top: int) -> Iterator[Text]:
    from rich.text import Text

    shown = [image.likeliest_first[:top] for image in images]
    names = [name for classes in shown for name, _ in classes]
    width = max(map(len, names), default=0)
    for image, classes in zip(images, shown, strict=True):
        # A path comes last: however long it is, the columns before it stay aligned.
        path = _printable(image.source)
        if image.reason:
            yield Text.assemble((_NOT_READ, "bold red"), f"   {path}: {_printable(image.reason)}")
            continue
        cells = [f"{name:<{width}} {percent(p):>6}" for name, p in classes]
        yield Text.assemble((cells[0], "bold"), "".join(f"   {c}" for c in cells[1:]), f"   {path}")


def _counts(images: Sequence[ClassifiedImage]) -> str:
    counts = Counter(image.predicted or "" for image in images)
    unread = counts.pop("", 0)
    parts = [f"{name} {count:,}" for name, count in counts.most_common()]
    parts += [f"{_NOT_READ} {unread:,}"] if unread else []
    return f"{len(images):,} images: {', '.join(parts)}"


def _printable(text: str) -> str:
    """A path on one line, in characters that can be printed; file names may hold any bytes."""
    whole = os.fsencode(text).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in whole)
