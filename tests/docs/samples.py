"""Small data under the names that the pages print: known datasets, and files of a reader's own.

All of it is made up, so that the pages can be run on any machine, in seconds and without network.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

__all__ = ["write_datasets", "write_files"]

_TOPICS = {
    "pos": ["wonderful", "fine", "good", "great", "superb"],
    "neg": ["boring", "terrible", "dull", "weak", "bad"],
}
# fmt: off
_COMMON = [
    "the", "a", "of", "to", "is", "in", "it", "film", "movie", "story", "last", "half", "hour",
    "if", "only", "were", "not", "so", "and", "was",
]
_GLOVE = [
    "man", "king", "woman", "queen", "spain", "madrid", "italy", "rome", "france", "paris",
    "germany", "berlin",
]
# fmt: on
_FILMS = {"50": "Star Wars (1977)", "100": "Fargo (1996)", "242": "Kolya (1996)"}
_SENTENCE = "Ethics is a basic foundation of all that follows; and so, thought the wanderer, on! "
_WORDNET = ("n01440764", "n02102040")


def write_datasets(folder: Path) -> None:
    """Writes a data folder ($RAYSWEEP_DATA) with a little of every dataset that the pages name."""
    rng = np.random.default_rng(0)
    _ml_100k(folder / "ml-100k", rng)
    _ml_latest_small(folder / "ml-latest-small", rng)
    _imdb(folder / "aclImdb", rng)
    (folder / "nietzsche.txt").write_text(_SENTENCE * 150)
    _glove(folder / "glove.6B", rng)
    _images(folder / "dogscats", {"train": 12, "valid": 6}, ("cats", "dogs"), rng)
    _images(folder / "imagenet", {"val": 4}, _WORDNET, rng)
    _efficientnet(folder / "efficientnet-lite0")


def write_files(folder: Path) -> None:
    """Writes what a reader would have in the current folder."""
    rng = np.random.default_rng(1)
    rows = [(user, item, rating, 10 * k) for k, (user, item, rating) in enumerate(_ratings(rng))]
    _table(folder / "my.csv", ("who", "what", "stars"), [row[:3] for row in rows])
    titled = [(*row, f"Film {row[1]} (1990)") for row in rows]
    _table(folder / "ratings.csv", ("user", "item", "rating", "timestamp", "title"), titled)
    texts = [(_review(rng, kind), kind) for kind in ("pos", "neg") * 100]
    _table(folder / "sentences.csv", ("sentence", "kind"), texts)
    (folder / "my.txt").write_text(_SENTENCE * 100)
    (folder / "review.txt").write_text("A wonderful film.\nA boring story.\n")
    _images(folder / "photos", {"train": 12, "valid": 6}, ("cats", "dogs"), rng, first=100)
    best = "task: matrix_factorization\nsettings: {num_factors: 8}\ndata: {dataset: ml-100k}\n"
    (folder / "best.yaml").write_text(best)
    (folder / "holidays").mkdir()
    for name in ("photo.jpg", "holidays/beach.jpg", "holidays/cat.jpg"):
        _image(folder / name, rng, 0)
    english = ("house", "river", "one", "two", "film", "tree")
    spanish = ("casa", "rio", "uno", "dos", "pelicula", "arbol")
    vectors = rng.normal(size=(6, 4))
    _vectors(folder / "english.vec", english, vectors)
    _vectors(folder / "spanish.vec", spanish, vectors @ np.linalg.qr(rng.normal(size=(4, 4)))[0])
    pairs = zip(english, spanish, strict=True)
    (folder / "pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in pairs))


def _table(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _ratings(rng: np.random.Generator) -> list[tuple[str, str, int]]:
    """Ratings 1 to 5 by users 1 … 30 and 196 of items 1 … 40, 50, 100 and 242."""
    users = [*map(str, range(1, 31)), "196"]
    items = [*map(str, range(1, 41)), *_FILMS]
    return [(u, i, int(rng.integers(1, 6))) for u in users for i in items if rng.random() < 0.5]


def _ml_100k(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    rows = _ratings(rng)
    lines = [f"{u}\t{i}\t{r}\t{880_000_000 + k}\n" for k, (u, i, r) in enumerate(rows)]
    (folder / "u.data").write_text("".join(lines))
    genres = "|".join(["0", "1", "1"] + ["0"] * 16)
    titles = {i: _FILMS.get(i, f"Film {i} (1990)") for _, i, _ in rows}
    items = [f"{i}|{title}|01-Jan-1990|||{genres}\n" for i, title in titles.items()]
    (folder / "u.item").write_text("".join(items), encoding="latin-1")
    users = sorted({u for u, _, _ in rows})
    (folder / "u.user").write_text("".join(f"{u}|30|F|writer|10000\n" for u in users))


def _ml_latest_small(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    rows = [(u, i, r, 880_000_000) for u, i, r in _ratings(rng)]
    _table(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"), rows)
    films = [(i, _FILMS.get(i, f"Film {i} (1990)"), "Drama") for i in {row[1] for row in rows}]
    _table(folder / "movies.csv", ("movieId", "title", "genres"), films)


def _review(rng: np.random.Generator, kind: str) -> str:
    words = rng.choice(_COMMON, size=20).tolist()
    words[int(rng.integers(20))] = str(rng.choice(_TOPICS[kind]))
    return " ".join(words)


def _imdb(folder: Path, rng: np.random.Generator) -> None:
    for split, count in (("train", 150), ("test", 30)):
        for kind in _TOPICS:
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                path = folder / split / kind / f"{number}_7.txt"
                path.write_text(_review(rng, kind))


def _glove(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    topics = [word for words in _TOPICS.values() for word in words]
    words = list(dict.fromkeys([*_COMMON, *topics, *_GLOVE, *(f"word{k}" for k in range(500))]))
    for dim in (50, 100):
        _vectors(folder / f"glove.6B.{dim}d.txt", words, rng.normal(size=(len(words), dim)) * 0.5)


def _vectors(path: Path, words: tuple[str, ...] | list[str], vectors: np.ndarray) -> None:
    rows = zip(words, vectors, strict=True)
    path.write_text("".join(f"{w} {' '.join(f'{x:.4f}' for x in v)}\n" for w, v in rows))


def _images(
    folder: Path,
    splits: dict[str, int],
    classes: tuple[str, ...],
    rng: np.random.Generator,
    first: int = 0,
) -> None:
    for split, count in splits.items():
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for number in range(first, first + count):
                _image(folder / split / name / f"{name}.{number}.jpg", rng, label)


def _image(path: Path, rng: np.random.Generator, label: int) -> None:
    pixels = rng.integers(0, 120, size=(64, 80, 3)) + 120 * label
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _efficientnet(folder: Path) -> None:
    """The weights that the package index would give, with random numbers."""
    folder.mkdir()
    network = timm.create_model("tf_efficientnet_lite0")
    torch.save(network.state_dict(), folder / "efficientnet-lite0-random.pth")
