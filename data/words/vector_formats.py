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
        places: Line of each (in a binary file the number of the word), from 1, [n].
    """

    words: list[str]
    vectors: np.ndarray
    places: list[int]


@dataclass
class BadRows:
    """What happens to bad rows.

    Attributes:
        source: The file's name, for people.
        skip: Whether to leave them out; else the first one is an error.
        unit: What a place counts: `line`, or `word` in a binary file.
        num_skipped: How many were left out by now.
    """

    source: str
    skip: bool = False
    unit: str = "line"
    num_skipped: int = field(default=0, init=False)

    def add(self, place: int, problem: str) -> None:
        """Counts a bad row, or raises UserError for it."""
        if not self.skip:
            raise UserError(
                f"{self.source}, {self.unit} {place}: {problem}; correct the file, or pass "
                "on_bad='skip' to leave such rows out"
            )
        self.num_skipped += 1


def read_blocks(stream: IO[bytes], bad: BadRows) -> Iterator[Block]:
    """Yields all rows of a file, whose format is told from its start.

    GloVe's text has a word and its numbers on each line, separated by spaces; a word may hold
    spaces itself. word2vec's text has a first line before that with the counts of rows and numbers.
    word2vec's binary has the same first line, then words, each followed by a space and float32s.

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
        raise UserError(f"{bad.source} is no file of word vectors: line 1 is {first[:40]!r}")
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
                places = list(range(number, number + len(words)))
                return Block(words, vectors.reshape(-1, dim), places)
        except ValueError:
            pass  # one of the lines is bad, and is found below
    block = Block([], np.zeros((len(lines), dim), np.float32), [])
    for place, line in enumerate(lines, number):
        if not line.strip():
            continue
        try:
            word, block.vectors[len(block.words)] = _row(line, dim)
        except ValueError as error:
            bad.add(place, str(error))
            continue
        block.words.append(word)
        block.places.append(place)
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
    if len(fields) <= dim or any(_is_number(each) for each in fields[1:-dim]):
        raise ValueError(f"{len(fields) - 1} numbers where {dim} are expected")
    for each in fields[-dim:]:
        if not _is_number(each):
            raise ValueError(f"'{each.decode(errors='replace')}' is not a number")
    return _word(b" ".join(fields[:-dim])), [float(each) for each in fields[-dim:]]


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
    place, size = 1, 4 * dim
    more = True
    while more and place <= rows:
        chunk = stream.read(_CHUNK_BYTES)
        more, buffer, position = bool(chunk), buffer + chunk, 0
        words: list[str] = []
        places: list[int] = []
        vectors: list[bytes] = []
        while place <= rows:
            space = buffer.find(b" ", position)
            end = space + 1 + size
            if space < 0 or end > len(buffer):
                break
            try:
                words.append(_word(buffer[position:space].lstrip(b"\n")))
                vectors.append(buffer[space + 1 : end])
                places.append(place)
            except ValueError as error:
                bad.add(place, str(error))
            place, position = place + 1, end
        buffer = buffer[position:]
        numbers = np.frombuffer(b"".join(vectors), "<f4").astype(np.float32)
        yield Block(words, numbers.reshape(-1, dim), places)
