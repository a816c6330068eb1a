"""Generates text; analogies, translations and pictures of words by their vectors."""

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
    """Generates text by a run's best network.

    Args:
        run: a run of char_rnn.
        seed_text: the beginning, of characters (or words) that occur in the run's text.
        num_symbols: how many characters (or words) to write, at least 1.
        temperature: 0 to 100; 1 draws symbols with their probabilities, less prefers likelier
            ones, 0 takes the likeliest.
        seed: seeds what is drawn.

    Returns:
        The new symbols, without the beginning.

    Raises:
        UserError: the run is of another kind or has no trained model, a character is unknown, or a
            number is out of range.
    """
    import torch

    from raysweep.trainables.sequences.char_rnn import CharRNN

    if num_symbols < 1:
        raise UserError(f"--num-chars {num_symbols}: give 1 or more")
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
    """Opens word vectors.

    Args:
        path: a file, folder or zip file; None for GloVe 6B, which is fetched if need be.
        dim: numbers in a vector, where there are several files.

    Returns:
        The vectors, memory-mapped.

    Raises:
        UserError: as `glove.load` and `fetch`.
    """
    from raysweep.data.sources.fetch import fetch, locate
    from raysweep.data.words import glove

    return glove.load(path or locate("glove.6B") or fetch("glove.6B"), dim=dim)


def analogy(
    vectors: WordVectors,
    a: str,
    b: str,
    c: str,
    top: int = 5,
    examples: Sequence[tuple[str, str]] = (),
) -> Neighbours:
    """Completes "a is to b as c is to …".

    Args:
        vectors: where to look.
        a: e.g. `man`.
        b: e.g. `king`.
        c: e.g. `woman`.
        top: how many words.
        examples: further pairs like (a, b), which make the relation clearer.

    Returns:
        Words and their cosines, best first.

    Raises:
        UserError: a word is not known.
    """
    from raysweep.analysis.vectors.relations import relation

    return relation(vectors, [(a, b), *examples], c, top)


def translate(
    source: WordVectors,
    target: WordVectors,
    pairs: Sequence[tuple[str, str]],
    words: Sequence[str],
    top: int = 5,
) -> tuple[dict[str, Neighbours], int]:
    """Translates words by turning one language's vectors onto another's.

    Args:
        source: vectors of the words' language.
        target: vectors of the other.
        pairs: a dictionary, words of both languages.
        words: what to translate.
        top: how many translations of each.

    Returns:
        Translations and their cosines by word, best first; and how many pairs of the dictionary
        have vectors in both languages.

    Raises:
        UserError: a word is not known, or too few pairs are.
    """
    from raysweep.analysis.vectors.relations import align

    alignment = align(source, target, pairs)
    return {word: alignment.translate(word, top) for word in words}, alignment.num_pairs


def read_dictionary(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Reads pairs of words, a pair a line, with a tab, a comma or a space between.

    Raises:
        UserError: there is no such file, it is empty or not UTF-8, or a line is not two words.
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
    plural: str = "words",
) -> tuple[int, int]:
    """Draws the first words on a plane.

    Args:
        vectors: the words.
        path: the PNG file to write.
        method: `tsne` or `pca`.
        first: how many of the first words to draw.
        labels: how many of these to name, as far as there is room.
        plural: what the picture calls them, e.g. `films`.

    Returns:
        Number of points and of names in the picture.

    Raises:
        UserError: another method, or too few words.
    """
    from raysweep.analysis.vectors.plots import draw, project

    first = min(first, len(vectors))
    points = project(vectors.vectors[:first], method)
    named = draw(
        path, points, vectors.words[:first], method=method, num_labels=labels, things=plural
    )
    return first, named
