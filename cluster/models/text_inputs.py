"""Texts to classify: from arguments, a file or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.core.errors import UserError

__all__ = ["GivenText", "read_texts"]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class GivenText:
    """A text, and where it comes from.

    Attributes:
        source: For people, e.g. `text 2` or `reviews.txt, line 7`.
        text: As given.
    """

    source: str
    text: str


def read_texts(
    inputs: Sequence[str] = (), file: str | None = None, lines: bool = False
) -> list[GivenText]:
    """Reads texts from arguments, a file or standard input.

    Args:
        inputs: Texts themselves.
        file: A file that is one text; `-` for standard input, which is also read where neither
            texts nor a file are given.
        lines: Whether each line of the file is a text; blank lines are left out.

    Returns:
        One text or more.

    Raises:
        UserError: No text is given, a file cannot be read, or a text is not UTF-8.
    """
    if inputs:
        if file is not None or lines:
            other = "--lines" if file is None else "--file"
            raise UserError(f"{other} is for texts of a file; leave it out, or the texts after RUN")
        sources = [f"text {number}" for number in range(1, len(inputs) + 1)]
        # What is not UTF-8 arrives in arguments as surrogates, which nothing could print.
        texts = [_decode(os.fsencode(t), s) for t, s in zip(inputs, sources, strict=True)]
        return [GivenText(s, t) for s, t in zip(sources, texts, strict=True)]
    whole = _read_file(file) if file not in (None, STANDARD_INPUT) else _read_standard_input(file)
    return _lines(whole) if lines else [whole]


def _read_file(file: str | None) -> GivenText:
    path = Path(file or "").expanduser()
    if path.is_dir():
        raise UserError(f"--file {path} is a folder; give a text file")
    if not path.exists():
        raise UserError(f"--file {path}: no such file; give a text file, or - for standard input")
    return GivenText(str(path), _decode(path.read_bytes(), str(path)))


def _read_standard_input(file: str | None) -> GivenText:
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        raise UserError(
            'no text is given; write `raysweep predict RUN "a fine film"`, name a --file, or pipe '
            "a text into the command"
        )
    text = _decode(sys.stdin.buffer.read(), "standard input")
    if not text.strip():
        raise UserError(
            "standard input holds no text; pipe one into the command, or give it as an argument: "
            '`raysweep predict RUN "a fine film"`'
        )
    return GivenText("standard input", text)


def _lines(whole: GivenText) -> list[GivenText]:
    # Not splitlines, which also divides at characters that no editor counts as a line's end.
    lines = enumerate(whole.text.split("\n"), 1)
    texts = [GivenText(f"{whole.source}, line {k}", line.strip()) for k, line in lines]
    if not any(text.text for text in texts):
        raise UserError(f"{whole.source} has no line with a text; write one a line")
    return [text for text in texts if text.text]


def _decode(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}: not UTF-8 text (byte at offset {error.start}); save it as UTF-8"
        ) from None
