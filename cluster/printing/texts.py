"""Prints classified texts: probabilities, the words that mattered, and what was not read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raysweep.cluster.models.texts import ClassifiedText

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["percent", "print_classified"]

_EXCERPT = 60


def print_classified(texts: Sequence[ClassifiedText], top: int) -> None:
    """Prints texts with their classes.

    Args:
        texts: One or more.
        top: How many words were asked for; 0 prints none.
    """
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for number, text in enumerate(texts):
        if number and top:
            console.print()
        if len(texts) > 1:
            excerpt = textwrap.shorten(text.text, _EXCERPT, placeholder=" …")
            console.print(f"{text.source}: {excerpt}", style="dim", markup=False)
        _print_text(console, text, top)


def _print_text(console: Console, text: ClassifiedText, top: int) -> None:
    from rich.text import Text

    likeliest_first = sorted(text.probabilities.items(), key=lambda item: -item[1])
    line = Text("   ".join(f"{name} {percent(p)}" for name, p in likeliest_first))
    line.stylize("bold", 0, len(f"{text.predicted} {percent(likeliest_first[0][1])}"))
    console.print(line)
    if text.words:
        console.print()
        console.print(_words(text))
        if others := text.num_distinct - len(text.words):
            console.print(f"other words, which moved it less: {others:,}", style="dim")
    for note in _notes(text, top):
        console.print(f"note: {note}", markup=False)


def _words(text: ClassifiedText) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("word")
    for title in ("moved it by", f"{text.predicted} without it"):
        # As Text: a class may be called [b].
        table.add_column(Text(title), justify="right")
    # A sure model is moved by little: as many decimals as the strongest word needs.
    strongest = abs(text.words[0].effect) * 100
    decimals = next((k for k in (1, 2, 3) if strongest >= 10.0 ** (1 - k)), 4)
    for word in text.words:
        times = f" ×{word.count}" if word.count > 1 else ""
        rare = "" if word.known else " (rare)"
        effect = f"{word.effect * 100:+.{decimals}f} points"
        style = "green" if word.effect > 0 else "red"
        name = Text(f"{word.word}{times}{rare}")
        table.add_row(name, Text(effect, style), percent(word.without, decimals))
    return table


def _notes(text: ClassifiedText, top: int) -> list[str]:
    notes = []
    if text.num_cut:
        whole = text.num_words + text.num_cut
        notes.append(
            f"the model read only the last {text.num_words:,} of the text's {whole:,} words"
        )
    if text.num_rare:
        notes.append(
            f"words that the model does not know: {text.num_rare:,} of {text.num_words:,}; it "
            "reads each as the same rare word"
        )
    if top and text.num_distinct == 1:
        notes.append("without its only word nothing is left of the text to compare with")
    return notes


def percent(share: float, decimals: int = 1) -> str:
    """A probability in percent; 100 and 0 only where it is exactly that."""
    shown = f"{share:.{decimals}%}"
    step = 10.0**-decimals
    if share < 1 and shown == f"{1:.{decimals}%}":
        return f">{100 - step:.{decimals}f}%"
    if share > 0 and shown == f"{0:.{decimals}%}":
        return f"<{step:.{decimals}f}%"
    return shown
