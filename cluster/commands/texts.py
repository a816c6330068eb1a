"""`raysweep generate`, `neighbours`, `analogy`, `translate` and `plot`: texts and words."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysweep.cluster.commands.options import Json, RunArgument, StorageRoot
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.data.words.word_vectors import Neighbours, WordVectors

__all__ = ["register"]

Top = Annotated[int, typer.Option(help="How many.", min=1)]
Vectors = Annotated[
    str | None,
    typer.Option(
        help="A file of word vectors (GloVe's or word2vec's format), a folder or zip file of them; "
        "GloVe 6B by default."
    ),
]
OfRun = Annotated[
    str | None,
    typer.Option("--run", help="A run whose words, characters or films to take, not a file's."),
]
Of = Annotated[
    str | None,
    typer.Option(
        "--embedding",
        help="Which vectors of the run, e.g. users of a ratings model; its main ones by default.",
    ),
]
Dim = Annotated[
    int | None, typer.Option(help="Numbers in a vector, where there are several files.", min=1)
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (generate, neighbours, analogy, translate, plot):
        app.command()(command)


def generate(
    run: RunArgument = None,
    seed_text: Annotated[
        str, typer.Option(help="The beginning.")
    ] = "ethics is a basic foundation of all that",
    num_chars: Annotated[int, typer.Option(help="Characters (or words) to write on.", min=1)] = 320,
    temperature: Annotated[
        float, typer.Option(help="How daring: 0 writes the likeliest always, 1 draws as learned.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Seeds what is drawn.", min=0)] = 0,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Let a trained network write on from a beginning.

    Example: raysweep generate RUN --seed-text "ethics is a basic" --num-chars 320
    """
    from raysweep.cluster.models import words as ask_text
    from raysweep.cluster.runs.saved_run import open_run

    saved = open_run(run, storage)
    text = ask_text.generate(saved, seed_text, num_chars, temperature, seed)
    if json:
        print(json_module.dumps({"seed_text": seed_text, "text": text}))
        return
    between = " " if saved.dataset.info.unit == "words" else ""
    print(f"{seed_text}{between}{text}")


def neighbours(
    word: Annotated[
        str, typer.Argument(help="A word, or what the run knows: a film's title, an image.")
    ],
    top: Top = 10,
    vectors: Vectors = None,
    run: OfRun = None,
    embedding: Of = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Show the words, or films, whose vectors lie nearest to one's, by cosine.

    Example: raysweep neighbours "Star Wars (1977)" --run films
    """
    _, known = _vectors(vectors, run, embedding, dim, storage)
    _show(known.neighbours(word, top), json)


def analogy(
    a: Annotated[str, typer.Argument(help="E.g. man.")],
    b: Annotated[str, typer.Argument(help="E.g. king.")],
    c: Annotated[str, typer.Argument(help="E.g. woman.")],
    example: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD:WORD", help="One more pair like A:B. Repeatable."),
    ] = None,
    top: Top = 5,
    vectors: Vectors = None,
    run: OfRun = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Answer "A is to B as C is to …": the words nearest to B - A + C.

    One pair shows more than was meant: `analogy spain madrid italy` finds football clubs' towns.
    With `--example germany:berlin --example france:paris` it is Rome.
    """
    from raysweep.cluster.models import words as ask_text

    pairs = [_pair(each) for each in example or []]
    _, known = _vectors(vectors, run, None, dim, storage)
    _show(ask_text.analogy(known, a, b, c, top, pairs), json)


def translate(
    source: Annotated[str, typer.Argument(help="A file of vectors of one language.")],
    target: Annotated[str, typer.Argument(help="A file of vectors of another.")],
    dictionary: Annotated[str, typer.Argument(help="A text file with a pair of words a line.")],
    words: Annotated[list[str], typer.Argument(help="Words to translate.")],
    top: Top = 5,
    json: Json = False,
) -> None:
    """Translate words: two spaces of vectors, turned onto each other by a small dictionary."""
    from raysweep.cluster.models import words as ask_text

    pairs = ask_text.read_dictionary(dictionary)
    spaces = (ask_text.file_vectors(source), ask_text.file_vectors(target))
    answers, known = ask_text.translate(*spaces, pairs, words, top)
    print(f"{known} of {len(pairs)} pairs of the dictionary are known", file=sys.stderr)
    if json:
        print(json_module.dumps(answers))
        return
    for word, found in answers.items():
        print(f"{word:16} {', '.join(f'{each} ({cosine:.2f})' for each, cosine in found)}")


def plot(
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("words.png"),
    method: Annotated[str, typer.Option(help="tsne or pca.")] = "tsne",
    first: Annotated[int, typer.Option(help="How many of the first words to place.", min=3)] = 500,
    labels: Annotated[int, typer.Option(help="How many of these to name, if they fit.")] = 350,
    vectors: Vectors = None,
    run: OfRun = None,
    embedding: Of = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
) -> None:
    """Draw words, or the films of a run, on a plane: alike ones lie together.

    Example: raysweep plot --run films --method pca --out films.png
    """
    from raysweep.cluster.models import words as ask_text

    things, known = _vectors(vectors, run, embedding, dim, storage)
    num, named = ask_text.draw_words(known, out, method, first, labels, things)
    print(f"{out}: {num} {things}, {named} of them named")


def _vectors(
    path: str | None, run: str | None, embedding: str | None, dim: int | None, root: str
) -> tuple[str, WordVectors]:
    """What is asked about, in the plural, and the vectors."""
    from raysweep.cluster.models import words as ask_text

    if run is None:
        if embedding is not None:
            raise UserError(f"--embedding {embedding} is one of a run's; name the run with --run")
        return "words", ask_text.file_vectors(path, dim)
    if path is not None:
        raise UserError("--vectors and --run name two sources; leave one of them out")
    from raysweep.cluster.runs.projector import best_embedding
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.data.words.word_vectors import WordVectors

    things, found = best_embedding(open_run(run, root), embedding)
    return things, WordVectors(found.labels, found.vectors)


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(":")
    if not first.strip() or not second.strip():
        raise UserError(f"--example {text!r} is not WORD:WORD such as france:paris")
    return first.strip(), second.strip()


def _show(found: Neighbours, as_json: bool) -> None:
    if as_json:
        print(json_module.dumps([{"word": word, "cosine": cosine} for word, cosine in found]))
        return
    for word, cosine in found:
        print(f"{cosine:.3f}  {word}")
