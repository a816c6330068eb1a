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
SourceRun = Annotated[
    str | None,
    typer.Option(
        "--run", help="Take the words, characters or films of a run, instead of a file's."
    ),
]
Embedding = Annotated[
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
        str, typer.Option(help="The beginning of the text.")
    ] = "ethics is a basic foundation of all that",
    num_chars: Annotated[int, typer.Option(help="Characters (or words) to generate.", min=1)] = 320,
    temperature: Annotated[
        float,
        typer.Option(
            help="0 always takes the likeliest character; 1 draws with the learned probabilities."
        ),
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Seeds what is drawn.", min=0)] = 0,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Generate text with a trained network.

    Example: raysweep generate RUN --seed-text "ethics is a basic" --num-chars 320
    """
    from raysweep.cluster.models import words
    from raysweep.cluster.runs.saved_run import open_run

    saved = open_run(run, storage)
    text = words.generate(saved, seed_text, num_chars, temperature, seed)
    if json:
        print(json_module.dumps({"seed_text": seed_text, "text": text}))
        return
    between = " " if saved.dataset.info.unit == "words" else ""
    print(f"{seed_text}{between}{text}")


def neighbours(
    word: Annotated[
        str, typer.Argument(help="A word; with --run, e.g. a film's title or an image.")
    ],
    top: Top = 10,
    vectors: Vectors = None,
    run: SourceRun = None,
    embedding: Embedding = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Show the words, or films, whose vectors lie nearest to one's, by cosine.

    Example: raysweep neighbours "Star Wars (1977)" --run films
    """
    _, word_vectors = _load_vectors(vectors, run, embedding, dim, storage)
    _show(word_vectors.neighbours(word, top), json)


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
    run: SourceRun = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Complete "A is to B as C is to …": the words nearest to B - A + C.

    One pair can mean several relations: `analogy spain madrid italy` finds towns of football clubs.
    With `--example germany:berlin --example france:paris` it finds Rome.
    """
    from raysweep.cluster.models import words

    pairs = [_pair(text) for text in example or []]
    _, word_vectors = _load_vectors(vectors, run, None, dim, storage)
    _show(words.analogy(word_vectors, a, b, c, top, pairs), json)


def translate(
    source: Annotated[str, typer.Argument(help="A file of vectors of one language.")],
    target: Annotated[str, typer.Argument(help="A file of vectors of another.")],
    dictionary: Annotated[str, typer.Argument(help="A text file with a pair of words a line.")],
    words: Annotated[list[str], typer.Argument(help="Words to translate.")],
    top: Top = 5,
    json: Json = False,
) -> None:
    """Translate words: a small dictionary says how one language's vectors turn onto another's."""
    from raysweep.cluster.models.words import file_vectors, read_dictionary
    from raysweep.cluster.models.words import translate as translate_words

    pairs = read_dictionary(dictionary)
    spaces = (file_vectors(source), file_vectors(target))
    translations, num_known = translate_words(*spaces, pairs, words, top)
    print(f"{num_known} of {len(pairs)} pairs of the dictionary are known", file=sys.stderr)
    if json:
        print(json_module.dumps(translations))
        return
    for word, neighbours in translations.items():
        print(f"{word:16} {', '.join(f'{other} ({cosine:.2f})' for other, cosine in neighbours)}")


def plot(
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("words.png"),
    method: Annotated[str, typer.Option(help="tsne or pca.")] = "tsne",
    first: Annotated[int, typer.Option(help="How many of the first words to draw.", min=3)] = 500,
    labels: Annotated[
        int, typer.Option(help="How many of these to name, as far as they fit.")
    ] = 350,
    vectors: Vectors = None,
    run: SourceRun = None,
    embedding: Embedding = None,
    dim: Dim = None,
    storage: StorageRoot = "runs",
) -> None:
    """Draw words, or the films of a run, on a plane: similar ones are close together.

    Example: raysweep plot --run films --method pca --out films.png
    """
    from raysweep.cluster.models import words

    plural, word_vectors = _load_vectors(vectors, run, embedding, dim, storage)
    num_points, num_labels = words.draw_words(word_vectors, out, method, first, labels, plural)
    print(f"{out}: {num_points} {plural}, {num_labels} of them named")


def _load_vectors(
    path: str | None, run: str | None, embedding: str | None, dim: int | None, root: str
) -> tuple[str, WordVectors]:
    """The vectors, and in front of them what they belong to, in the plural, e.g. `films`."""
    from raysweep.cluster.models import words

    if run is None:
        if embedding is not None:
            raise UserError(f"--embedding {embedding} is one of a run's; name the run with --run")
        return "words", words.file_vectors(path, dim)
    if path is not None:
        raise UserError("--vectors and --run name two sources; leave one of them out")
    from raysweep.cluster.runs.projector import best_embedding
    from raysweep.cluster.runs.saved_run import open_run
    from raysweep.data.words.word_vectors import WordVectors

    plural, table = best_embedding(open_run(run, root), embedding)
    return plural, WordVectors(table.labels, table.vectors)


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(":")
    if not first.strip() or not second.strip():
        raise UserError(f"--example {text!r} is not WORD:WORD such as france:paris")
    return first.strip(), second.strip()


def _show(neighbours: Neighbours, as_json: bool) -> None:
    if as_json:
        print(json_module.dumps([{"word": word, "cosine": cosine} for word, cosine in neighbours]))
        return
    for word, cosine in neighbours:
        print(f"{cosine:.3f}  {word}")
