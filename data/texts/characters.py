"""One long text as a sequence of characters or of words, to learn what comes next.

data = load(fetch("nietzsche"), encoding="latin-1")

The published figures for Nietzsche (600,901 characters; 60 symbols, that of padding included) count
the bytes of the file, not its characters in UTF-8: `encoding="latin-1"` gives the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.core.fingerprints import fingerprint
from raysweep.data.tables.stratified import check_fractions
from raysweep.data.texts.vocabulary import PADDING, Vocabulary, id_type, tokenize_all

__all__ = ["SequenceData", "load"]

_UNITS = ("characters", "words")
_RARE = "<rare>"


@dataclass(frozen=True)
class SequenceData:
    """A text as ids, in three consecutive blocks.

    Attributes:
        name: For people, e.g. `nietzsche.txt`.
        unit: What an id stands for: `characters` or `words`.
        lower: Whether the text was put into lower case.
        symbols: The character or word of each id: empty for 0, which is padding and does not occur
            in the blocks; for words the last one is `<rare>`, every word without an id of its own.
        train: The first block, uint8, int16 or int32 [n].
        validation: The block that follows it.
        test: The last block.
    """

    name: str
    unit: str
    lower: bool
    symbols: tuple[str, ...]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def num_symbols(self) -> int:
        """Number of ids, that of padding included."""
        return len(self.symbols)

    @property
    def description(self) -> str:
        """One line for people."""
        return (
            f"{self.name}: {len(self.train):,} training, {len(self.validation):,} validation and "
            f"{len(self.test):,} test {self.unit}, {self.num_symbols:,} symbols"
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Character or word to id."""
        return {symbol: k for k, symbol in enumerate(self.symbols) if k != PADDING}

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a new text, of the blocks' type, [n].

        Raises:
            UserError: The text has a character that does not occur in this one, or no word.
        """
        if self.unit == "words":
            corpus = tokenize_all([text])
            words = [corpus.words[code] for code in corpus.codes]
            ids = [self.index.get(word, self.index[_RARE]) for word in words]
        else:
            text = text.lower() if self.lower else text
            if unknown := sorted(set(text) - set(self.index)):
                raise UserError(
                    f"the character {unknown[0]!r} in {text[:40]!r} does not occur in {self.name}; "
                    "leave it out"
                )
            ids = [self.index[character] for character in text]
        if not ids:
            raise UserError(f"there are no {self.unit} in {text[:40]!r}; give some")
        return np.array(ids, self.train.dtype)

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of ids, int [n]; words with spaces between, padding left out."""
        between = " " if self.unit == "words" else ""
        return between.join(self.symbols[k] for k in np.asarray(ids).tolist() if k != PADDING)

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change with any content, not with the name."""
        return fingerprint(self.train, self.validation, self.test, self.symbols, self.unit)


def load(
    path: str | os.PathLike[str],
    *,
    unit: str = "characters",
    lower: bool = True,
    vocabulary_size: int = 5000,
    sequence_length: int = 40,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    encoding: str = "utf-8",
) -> SequenceData:
    r"""Reads a text; line ends become `\n`.

    The sets are consecutive blocks: neighbouring windows overlap, so that windows drawn at random
    would put the same text into several sets. All characters of the text have an id; of words,
    those most frequent in the training block.

    Args:
        path: A text file.
        unit: `characters`, or `words` as `vocabulary.tokenize` divides them.
        lower: Whether to put characters into lower case; words always are.
        vocabulary_size: Number of ids for words, at least 3; not used for characters.
        sequence_length: Symbols of the windows that the text is for; each block must hold one
            window and what comes next.
        fractions: Shares of train, validation and test; above 0, sum 1.
        encoding: How the file is written.

    Raises:
        UserError: The file is missing, empty or in another encoding (the message has the byte's
            offset), a block is too short, or an argument is out of range.
    """
    path = Path(path).expanduser()
    if unit not in _UNITS:
        raise UserError(f"unit: no unit '{unit}'{nearest(unit, _UNITS)}")
    if sequence_length < 1:
        raise UserError(f"sequence_length: {sequence_length} is below 1; use e.g. 40")
    check_fractions(fractions)
    text = _read(path, encoding).replace("\r\n", "\n")
    if unit == "words":
        corpus = tokenize_all([text])
        codes = corpus.codes
    else:
        codes = np.frombuffer((text.lower() if lower else text).encode("utf-32-le"), np.uint32)
    if not len(codes):
        raise UserError(f"{path} is empty: there are no {unit} in it; give a text")
    ends = np.cumsum([round(len(codes) * fraction) for fraction in fractions[:2]])
    if min(len(block) for block in np.split(codes, ends)) <= sequence_length:
        sizes = ", ".join(str(len(block)) for block in np.split(codes, ends))
        raise UserError(
            f"{path} is too short: its blocks have {sizes} {unit}, and each needs more than "
            f"sequence_length={sequence_length}; use a longer text or shorter sequences"
        )
    if unit == "words":
        counts = np.bincount(codes[: ends[0]], minlength=len(corpus.words))
        vocabulary = Vocabulary.build(corpus.words, counts, vocabulary_size)
        symbols = ("", *vocabulary.words, _RARE)
        ids = vocabulary.lookup(corpus.words)[codes]
    else:
        characters, indices = np.unique(codes, return_inverse=True)
        symbols = ("", *map(chr, characters.tolist()))
        ids = indices + 1
    kind = np.uint8 if len(symbols) <= 256 else id_type(len(symbols))
    train, validation, test = np.split(ids.astype(kind), ends)
    return SequenceData(
        name=path.name,
        unit=unit,
        lower=lower or unit == "words",
        symbols=symbols,
        train=train,
        validation=validation,
        test=test,
    )


def _read(path: Path, encoding: str) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a text file")
    content = path.read_bytes()
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UserError(f"encoding: no encoding '{encoding}'; use utf-8 or latin-1") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: not {encoding} text: byte {content[error.start]:#04x} at offset "
            f"{error.start} (line {line}); save the file as UTF-8, or pass the encoding it has, "
            "e.g. encoding='latin-1'"
        ) from error
