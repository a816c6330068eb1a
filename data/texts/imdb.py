"""IMDB: film reviews, liked or not; the Large Movie Review Dataset of Maas et al., 2011.

data = load(locate("imdb") or fetch("imdb"))

The archive is read as it is: it need not be unpacked into 100,000 files. Words and ids are those
of the published results: on the whole training set the reviews have 237.7 words on average and
2,493 at most, and the first words are `the and a of to is br in it i`.
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.progress_line import progress_line
from raysweep.data.sources.prepared import file_state, prepared
from raysweep.data.tables.stratified import stratified_split
from raysweep.data.texts.encoded import TextData, encode_sets, text_statistics
from raysweep.data.texts.vocabulary import Corpus, Vocabulary, tokenize_all

__all__ = ["CLASS_NAMES", "load"]

CLASS_NAMES = ("neg", "pos")
_SPLITS = ("train", "test")
_REVIEW = re.compile(r"(?:^|/)(train|test)/(neg|pos)/([^/.][^/]*\.txt)$")
# Reviews of a film have neighbouring numbers, and a film has at most 30 of them: a block of more is
# cut off from others at its two ends only.
_BLOCKS = {"random": 1, "films": 100}
_VERSION = 1  # of what the cache holds; raise it with any change of words or order
_Review = tuple[str, int, str, str]  # split, label, file name, text


def load(
    path: str | os.PathLike[str],
    *,
    vocabulary_size: int = 5000,
    length: int = 500,
    validation: float = 0.1,
    split: str = "random",
    split_seed: int = 0,
    progress: bool = True,
) -> TextData:
    """Reads the reviews, encoded; the first time takes seconds, later ones a fraction of one.

    The test set is the official one. The validation set is drawn from the official training set,
    on all of which the vocabulary is counted, so that ids do not depend on the seed and agree with
    the published ones. The order of reviews is by class and file name, whatever the archive's is.

    Args:
        path: `aclImdb_v1.tar.gz` or its unpacked folder `aclImdb`.
        vocabulary_size: Number of ids, that of padding and of rare words included, at least 3.
        length: Words of a review that are kept, from its end; shorter reviews are padded in front.
        validation: Share of the training set that becomes the validation set, between 0 and 1.
        split: `random`, or `films`: blocks of 100 reviews that stand side by side, so that few
            films have reviews in both sets, as none has in training and test set.
        split_seed: Seed of that choice, 0 or more.
        progress: Whether to show progress on standard error.

    Raises:
        UserError: Nothing is there, the archive is damaged, a class has no reviews in a split, a
            review is empty or not UTF-8, an argument is out of range, or the cache is not writable.
    """
    path = Path(path).expanduser()
    if not 0 < validation < 1:
        raise UserError(f"validation: {validation} is not between 0 and 1; use e.g. 0.1")
    corpus, labels, num_train = prepared(
        "imdb", (_VERSION, _state(path)), lambda folder: _prepare(path, folder, progress), _opened
    )
    trained = np.arange(num_train)
    vocabulary = Vocabulary.build(corpus.words, corpus.counts(trained), vocabulary_size)
    fractions = (1 - validation, validation)
    parts = stratified_split(labels[:num_train], fractions, split_seed, _BLOCKS[split])
    sets = (*parts, np.arange(num_train, len(labels)))
    train, held_out, test = encode_sets(corpus, labels, vocabulary, length, sets)
    return TextData(
        name=path.name.removesuffix(".tar.gz"),
        train=train,
        validation=held_out,
        test=test,
        vocabulary=vocabulary,
        class_names=CLASS_NAMES,
        statistics=text_statistics(corpus, vocabulary, trained),
    )


def _state(path: Path) -> object:
    """What the reviews depend on, without reading them."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; `raysweep data list` shows the datasets")
    if path.is_file():
        return file_state(path)
    states = ((name, entry.stat()) for name, entry in _entries(path))
    files = sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)
    return str(path.resolve()), files


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yields the reviews of a folder: names such as `train/neg/0_3.txt`, and their entries."""
    for split in _SPLITS:
        for name in CLASS_NAMES:
            if (folder / split / name).is_dir():
                with os.scandir(folder / split / name) as entries:
                    named = ((f"{split}/{name}/{entry.name}", entry) for entry in entries)
                    yield from (pair for pair in named if _REVIEW.search(pair[0]))


def _prepare(path: Path, folder: Path, progress: bool) -> None:
    """Reads and tokenises all reviews into a folder of the cache."""
    with progress_line(f"reading {path.name}", 1.0, shown=progress) as done:
        reviews = sorted(_reviews(path, done), key=lambda r: (_SPLITS.index(r[0]), r[1:]))
    for split in _SPLITS:
        for label, name in enumerate(CLASS_NAMES):
            if not any(review[:2] == (split, label) for review in reviews):
                raise UserError(
                    f"{path} holds no reviews in {split}/{name}/*.txt; give aclImdb_v1.tar.gz as "
                    "it comes, or the folder aclImdb that it unpacks to"
                )
    with progress_line("counting words", len(reviews), shown=progress) as done:
        corpus = tokenize_all(_counted([review[3] for review in reviews], done))
    for empty in np.flatnonzero(corpus.lengths == 0)[:1]:
        split, label, name, _ = reviews[empty]
        raise UserError(
            f"{path}: the review {split}/{CLASS_NAMES[label]}/{name} holds no words; delete it"
        )
    np.save(folder / "codes.npy", corpus.codes)
    np.save(folder / "offsets.npy", corpus.offsets)
    np.save(folder / "labels.npy", np.array([review[1] for review in reviews], np.int64))
    np.save(folder / "num_train.npy", sum(review[0] == "train" for review in reviews))
    (folder / "words.txt").write_bytes("\n".join(corpus.words).encode())


def _counted(texts: list[str], done: Callable[[float], None]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number % 1000 == 0:
            done(number)
        yield text


def _opened(folder: Path) -> tuple[Corpus, np.ndarray, int]:
    words = (folder / "words.txt").read_bytes().decode().split("\n")
    codes, offsets, labels, num_train = (
        np.load(folder / f"{name}.npy") for name in ("codes", "offsets", "labels", "num_train")
    )
    if len(codes) != offsets[-1] or len(labels) != len(offsets) - 1 or codes.max() >= len(words):
        raise ValueError("the files do not belong together")
    return Corpus(words, codes, offsets), labels, int(num_train)


def _reviews(path: Path, done: Callable[[float], None]) -> Iterator[_Review]:
    members = _folder_members(path, done) if path.is_dir() else _archive_members(path, done)
    for name, content in members:
        if match := _REVIEW.search(name):
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: the review {match[0].lstrip('/')} is not UTF-8 text (byte "
                    f"{content[error.start]:#04x} at position {error.start + 1}); take the archive "
                    "from its official address, or save the review as UTF-8"
                ) from error
            yield match[1], CLASS_NAMES.index(match[2]), match[3], text


def _folder_members(path: Path, done: Callable[[float], None]) -> Iterator[tuple[str, bytes]]:
    entries = list(_entries(path))
    for number, (name, entry) in enumerate(entries):
        if number % 100 == 0:
            done(number / len(entries))
        yield name, Path(entry.path).read_bytes()


def _archive_members(path: Path, done: Callable[[float], None]) -> Iterator[tuple[str, bytes]]:
    """Reads the archive in one pass from its start to its end."""
    size = max(path.stat().st_size, 1)
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    done(raw.tell() / size)
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is not None:
                        yield member.name, content.read()
            while stream.read(1 << 20):
                pass  # tarfile takes a cut-off archive for one that ends; gzip does not
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(
            f"{path} is damaged or no archive ({error}); delete it and download it again"
        ) from error
