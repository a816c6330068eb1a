"""Text in UTF-8, or the line and the byte that are not."""

from __future__ import annotations

from raysweep.core.errors import UserError
from raysweep.data.tables.streams import AnyPath

__all__ = ["check_encoding", "decode_utf8"]


def decode_utf8(content: bytes, source: str, first_line: int = 1) -> str:
    r"""Decodes text and drops a byte order mark in front of it.

    Args:
        content: The bytes, of one or more lines.
        source: The file, for messages.
        first_line: Number of the first of these lines in the file.

    Returns:
        The text, with its line ends as they are.

    Raises:
        UserError: A byte is not UTF-8; the message has its line and its position in it, from 1.
    """
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        position = error.start - content.rfind(b"\n", 0, error.start)
        raise UserError(
            f"{source}, line {line}: not UTF-8 text (byte {content[error.start]:#04x} at position "
            f"{position}); save the file as UTF-8"
        ) from error


def check_encoding(path: AnyPath) -> None:
    """Reads a file line by line; raises UserError for the first byte that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            decode_utf8(line, str(path), number)
