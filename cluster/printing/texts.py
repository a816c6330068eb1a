"""Classified texts for people: probabilities, the words behind them, and what was not read."""

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


def print_classified(answers: Sequence[ClassifiedText], top: int) -> None:
    """Prints each answer, with its words where `top` is not 0."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for number, answer in enumerate(answers):
        if number and top:
            console.print()
        if len(answers) > 1:
            excerpt = textwrap.shorten(answer.text, _EXCERPT, placeholder=" …")
            console.print(f"{answer.source}: {excerpt}", style="dim", markup=False)
        _print_answer(console, answer, top)


def _print_answer(console: Console, answer: ClassifiedText, top: int) -> None:
    from rich.text import Text

    likeliest_first = sorted(answer.probabilities.items(), key=lambda each: -each[1])
    line = Text("   ".join(f"{name} {percent(p)}" for name, p in likeliest_first))
    line.stylize("bold", 0, len(f"{answer.predicted} {percent(likeliest_first[0][1])}"))
    console.print(line)
    if answer.words:
        console.print()
        console.print(_words(answer))
        if others := answer.num_distinct - len(answer.words):
            console.print(f"other words, which moved it less: {others:,}", style="dim")
    for note in _notes(answer, top):
        console.print(f"note: {note}", markup=False)


def _words(answer: ClassifiedText) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("word")
    for title in ("moved it by", f"{answer.predicted} without it"):
        # As Text: a class may be called [b].
        table.add_column(Text(title), justify="right")
    # A sure model is moved by little: as many decimals as the strongest word needs.
    strongest = abs(answer.words[0].effect) * 100
    decimals = next((k for k in (1, 2, 3) if strongest >= 10.0 ** (1 - k)), 4)
    for each in answer.words:
        times = f" ×{each.count}" if each.count > 1 else ""
        rare = "" if each.known else " (rare)"
        effect = f"{each.effect * 100:+.{decimals}f} points"
        style = "green" if each.effect > 0 else "red"
        name = Text(f"{each.word}{times}{rare}")
        table.add_row(name, Text(effect, style), percent(each.without, decimals))
    return table


def _notes(answer: ClassifiedText, top: int) -> list[str]:
    notes = []
    if answer.num_cut:
        whole = answer.num_words + answer.num_cut
        notes.append(
            f"the model read only the last {answer.num_words:,} of the text's {whole:,} words"
        )
    if answer.num_rare:
        notes.append(
            f"words that the model does not know: {answer.num_rare:,} of {answer.num_words:,}; it "
            "reads each as the same rare word"
        )
    if top and answer.num_distinct == 1:
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
