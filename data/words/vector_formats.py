"""Reads files of word vectors, block by block: GloVe's text, word2vec's text and binary."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["BadRows", "Block", "read_blocks"]

_CHUNK_BYTES = 8 << 20
_PEEK_BYTES = 4096
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))  # binary numbers have these, texts do not


class Block(NamedTuple):
    """Some consecutive rows.

    Attributes:
        words: [n], not checked for being distinct.
        vectors: float32 [n, dim], not checked for being finite.
        lines: Line number of each row, from 1, [n]; the number of the word in a binary file.
    """

    words: list[str]
    vectors: np.ndarray
    lines: list[int]


@dataclass
class BadRows:
    """What happens to bad rows.

    Attributes:
        source: The file's name, for messages.
        skip: Whether to leave them out; else the first one is an error.
        unit: What line numbers count: `line`, `row`, or `word` in a binary file.
        num_skipped: How many were left out so far.
    """

    source: str
    skip: bool = False
    unit: str = "line"
    num_skipped: int = field(default=0, init=False)

    def add(self, line: int, problem: str) -> None:
        """Counts a bad row; raises UserError for it where `skip` is not set."""
        if not self.skip:
            raise UserError(
                f"{self.source}, {self.unit} {line}: {problem}; correct the file, or pass "
                "on_bad='skip' to leave such rows out"
            )
        self.num_skipped += 1


def read_blocks(stream: IO[bytes], bad: BadRows) -> Iterator[Block]:
    """Yields all rows of a file; the start of the file says in which format it is.

    GloVe's text has a word and its numbers on each line, separated by spaces; a word may hold
    spaces itself. word2vec's text has a first line before that with the counts of rows and numbers.
    word2vec's binary has the same first line, then words, each followed by a space and float32s.

    Args:
        stream: The file, opened at its start.
        bad: What happens to bad rows; `num_skipped` counts them, `unit` is set.

    Raises:
        UserError: The file is empty, of another format or cut off, or a row is bad (wrong number
            of numbers, not a number, no word, not UTF-8) and `bad` does not skip it.
    """
    first = stream.readline(_CHUNK_BYTES)
    if not first.strip():
        raise UserError(f"{bad.source} is empty or starts with an empty line; give word vectors")
    header = first.split()
    if len(header) == 2 and all(part.isdigit() for part in header):
        rows, dim = int(header[0]), int(header[1])
        start = stream.read(_PEEK_BYTES)
        if start.translate(None, _CONTROL) != start:
            bad.unit = "word"
            blocks = _binary_blocks(stream, start, rows, dim, bad)
        else:
            blocks = _text_blocks(stream, start, 2, dim, bad)
    else:
        rows, dim = -1, len(first.rstrip().split(b" ")) - 1
        blocks = _text_blocks(stream, first, 1, dim, bad)
    if dim < 1:
        raise UserError(
            f"{bad.source} is no file of word vectors: line 1 is {first[:40]!r}; name another"
        )
    num_read = 0
    for block in blocks:
        num_read += len(block.words)
        yield block
    if rows >= 0 and num_read + bad.num_skipped < rows:
        raise UserError(
            f"{bad.source} is cut off: {num_read + bad.num_skipped} of {rows} words are there; "
            "download it again"
        )


def _text_blocks(
    stream: IO[bytes], start: bytes, first_line: int, dim: int, bad: BadRows
) -> Iterator[Block]:
    rest, number = start, first_line
    while chunk := stream.read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield _block(lines, number, dim, bad)
        number += len(lines)
    yield _block(rest.split(b"\n"), number, dim, bad)


def _block(lines: list[bytes], number: int, dim: int, bad: BadRows) -> Block:
    """Reads lines all at once where all are as expected, else one by one."""
    pairs = [line.rstrip().partition(b" ") for line in lines]
    if all(word and values.count(b" ") == dim - 1 for word, _, values in pairs):
        try:
            words = b"\n".join(word for word, _, _ in pairs).decode().split("\n")
            vectors = _numbers(b" ".join(values for _, _, values in pairs))
            if vectors.size == len(words) * dim:
                numbers = list(range(number, number + len(words)))
                return Block(words, vectors.reshape(-1, dim), numbers)
        except ValueError:
            pass  # one of the lines is bad: the loop below says which
    block = Block([], np.zeros((len(lines), dim), np.float32), [])
    for line_number, line in enumerate(lines, number):
        if not line.strip():
            continue
        try:
            word, block.vectors[len(block.words)] = _row(line, dim)
        except ValueError as error:
            bad.add(line_number, str(error))
            continue
        block.words.append(word)
        block.lines.append(line_number)
    return block._replace(vectors=block.vectors[: len(block.words)])


def _numbers(text: bytes) -> np.ndarray:
    """Reads numbers between spaces; raises ValueError where something is not a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy's way to say so
        try:
            return np.fromstring(text, np.float32, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from None


def _row(line: bytes, dim: int) -> tuple[str, list[float]]:
    """Reads one line; raises ValueError that says what is wrong with it."""
    fields = line.rstrip().split(b" ")
    if len(fields) <= dim or any(_is_number(field) for field in fields[1:-dim]):
        raise ValueError(f"{len(fields) - 1} numbers where {dim} are expected")
    for number in fields[-dim:]:
        if not _is_number(number):
            raise ValueError(f"'{number.decode(errors='replace')}' is not a number")
    return _word(b" ".join(fields[:-dim])), [float(number) for number in fields[-dim:]]


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _word(raw: bytes) -> str:
    try:
        word = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the word {raw[:40]!r} is not UTF-8") from error
    if not word:
        raise ValueError("there is no word before the numbers")
    if "\n" in word:
        raise ValueError(f"the word {word!r} has a line break")
    return word


def _binary_blocks(
    stream: IO[bytes], buffer: bytes, rows: int, dim: int, bad: BadRows
) -> Iterator[Block]:
    row, size = 1, 4 * dim
    more = True
    while more and row <= rows:
        chunk = stream.read(_CHUNK_BYTES)
        more, buffer, position = bool(chunk), buffer + chunk, 0
        words: list[str] = []
        numbers: list[int] = []
        vectors: list[bytes] = []
        while row <= rows:
            space = buffer.find(b" ", position)
            end = space + 1 + size
            if space < 0 or end > len(buffer):
                break
            try:
                words.append(_word(buffer[position:space].lstrip(b"\n")))
                vectors.append(buffer[space + 1 : end])
                numbers.append(row)
            except ValueError as error:
                bad.add(row, str(error))
            row, position = row + 1, end
        buffer = buffer[position:]
        values = np.frombuffer(b"".join(vectors), "<f4").astype(np.float32)
        yield Block(words, values.reshape(-1, dim), numbers)
