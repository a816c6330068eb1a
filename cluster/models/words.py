"""Questions to texts: what a network writes, which words are near, analogies, translations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError
from raysweep.data.tables.encoding import decode_utf8
from raysweep.data.words.word_vectors import Neighbours, WordVectors

if TYPE_CHECKING:
    from raysweep.cluster.runs.saved_run import SavedRun

__all__ = [
    "analogy",
    "draw_words",
    "file_vectors",
    "generate",
    "read_dictionary",
    "translate",
]


def generate(
    run: SavedRun, seed_text: str, num_symbols: int, temperature: float = 0.8, seed: int = 0
) -> str:
    """The text that a run's best network writes on from a beginning.

    Args:
        run: a run of char_rnn.
        seed_text: the beginning, of characters (or words) that occur in the run's text.
        num_symbols: how many characters (or words) to write, at least 1.
        temperature: 0 or more; below 1 the likelier symbols are preferred, 0 takes the likeliest.
        seed: seeds what is drawn.

    Returns:
        The new symbols only.

    Raises:
        UserError: a run of another kind, an unknown character, or a number out of range.
    """
    import torch

    from raysweep.trainables.sequences.char_rnn import CharRNN

    if num_symbols < 1:
        raise UserError(f"--num-chars {num_symbols}: ask for 1 or more")
    if not 0 <= temperature <= 100:
        raise UserError(f"--temperature {temperature} is not between 0 and 100; use e.g. 0.8")
    if not issubclass(run.request.learner, CharRNN):
        raise UserError(
            f"{run.storage.uri} is a run of {run.request.learner.name}, which writes nothing; "
            "name a run of char_rnn"
        )
    text = run.dataset.info
    begin = torch.from_numpy(text.encode(seed_text).astype("int64"))
    learner: Any = run.best_model()
    generator = torch.Generator().manual_seed(seed)
    ids = list(learner.generate(begin, num_symbols, temperature, generator))
    written: str = text.decode(ids)
    return written


def file_vectors(path: str | None, dim: int | None = None) -> WordVectors:
    """Word vectors of a file; GloVe's where none is named, fetched if it is nowhere."""
    from raysweep.data.sources.fetch import fetch, locate
    from raysweep.data.words import glove

    place: str | os.PathLike[str] = path or locate("glove.6B") or fetch("glove.6B")
    return glove.load(place, dim=dim)


def analogy(
    vectors: WordVectors,
    a: str,
    b: str,
    c: str,
    top: int = 5,
    examples: Sequence[tuple[str, str]] = (),
) -> Neighbours:
    """Answers "a is to b as c is to …"; more examples of the same relation make it clearer."""
    from raysweep.analysis.vectors.relations import relation

    return relation(vectors, [(a, b), *examples], c, top)


def translate(
    source: WordVectors,
    target: WordVectors,
    pairs: Sequence[tuple[str, str]],
    words: Sequence[str],
    top: int = 5,
) -> tuple[dict[str, Neighbours], int]:
    """The likeliest translations of words, and how many pairs of the dictionary were known."""
    from raysweep.analysis.vectors.relations import align

    alignment = align(source, target, pairs)
    return {word: alignment.translate(word, top) for word in words}, alignment.num_pairs


def read_dictionary(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Reads pairs of words, a pair a line, with a tab, a comma or a space between.

    Raises:
        UserError: no such file, not UTF-8, a line that is not two words, or no line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a text file with a pair of words a line")
    pairs = []
    for number, line in enumerate(decode_utf8(path.read_bytes(), str(path)).splitlines(), 1):
        parts = [part.strip() for part in line.split("\t" if "\t" in line else ",")]
        parts = line.split() if len(parts) == 1 else parts
        if not line.strip():
            continue
        if len(parts) != 2 or not all(parts):
            raise UserError(
                f"{path}, line {number}: {line[:60]!r} is not two words; write e.g. `one uno`"
            )
        pairs.append((parts[0], parts[1]))
    if not pairs:
        raise UserError(f"{path} is empty; write a pair of words a line, e.g. `one uno`")
    return pairs


def draw_words(
    vectors: WordVectors,
    path: Path,
    method: str = "tsne",
    first: int = 500,
    labels: int = 350,
    things: str = "words",
) -> tuple[int, int]:
    """Draws the first words on a plane as a PNG; returns how many points and how many labels.

    `things` is what the picture calls them, in the plural.
    """
    from raysweep.analysis.vectors.plots import draw, project

    first = min(first, len(vectors))
    places = project(vectors.vectors[:first], method)
    named = draw(path, places, vectors.words[:first], method=method, labels=labels, things=things)
    return first, named
