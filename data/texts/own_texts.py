"""Texts of your own with a class each: reads, checks, splits and encodes them.

data = load("reviews.csv", text_column="body", label_column="stars")
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.core.progress_line import progress_line
from raysweep.data.tables.stratified import check_fractions, stratified_split
from raysweep.data.texts.encoded import TextData, encode_sets, text_statistics
from raysweep.data.texts.text_tables import TextTable
from raysweep.data.texts.vocabulary import Corpus, Vocabulary, tokenize_all

__all__ = ["load"]

_EMPTY = ("error", "skip")
_REPORT_EVERY = 500


def load(
    path: str | os.PathLike[str],
    *,
    text_column: str = "",
    label_column: str = "",
    vocabulary_size: int = 5000,
    length: int = 500,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    split_seed: int = 0,
    empty: str = "error",
    progress: bool = True,
) -> TextData:
    """Reads texts of two or more classes; the vocabulary is counted on the training set alone.

    Labels are any text or number; 1 and 1.0 are the same class. The classes are numbered by value
    if all are whole numbers, else alphabetically. The three sets have the classes in the same
    shares; a class of fewer than three texts is in the first sets only, which `notes` then says.

    Args:
        path: A .csv, .tsv, .jsonl, .ndjson or .parquet file, or a folder with one folder of text
            files for each class, named like the class. All in UTF-8.
        text_column: Name of the column with the text; default `text`, `review`, `sentence` or so.
        label_column: Name of the column with the class; default `label`, `class` or so.
        vocabulary_size: Number of ids, that of padding and of rare words included, at least 3.
            Smaller where the training texts have fewer words; `notes` then says so.
        length: Words of a text that are kept, from its end. Smaller where the longest training
            text is shorter, which saves computing on padding; `notes` then says so.
        fractions: Shares of train, validation and test; above 0, sum 1.
        split_seed: Seed of the split, 0 or more.
        empty: What to do with a text without words: `error` or `skip`.
        progress: Whether to show progress on standard error.

    Raises:
        UserError: A file, column, text or label is missing or empty, a line cannot be read or is
            not UTF-8 (the message names it), there are fewer than two classes or as many as texts,
            there are too few texts to split, or an argument is out of range.
    """
    if empty not in _EMPTY:
        raise UserError(f"empty: no choice '{empty}'{nearest(empty, _EMPTY)}")
    check_fractions(fractions)
    table = TextTable(Path(path).expanduser(), text_column, label_column)
    corpus, names, positions = _read(table, progress)
    rows = np.flatnonzero(corpus.lengths)
    for bad in np.flatnonzero(corpus.lengths == 0)[: empty == "error"]:
        raise UserError(
            f"{table.where(positions[bad])}: the text is empty or has no words; delete it, or add "
            "--data empty=skip to leave out all such texts"
        )
    class_names, labels = _number_classes([names[row] for row in rows], table)
    labels_by_row = np.zeros(len(corpus), np.int64)
    labels_by_row[rows] = labels
    sets = [rows[part] for part in stratified_split(labels, fractions, split_seed)]
    vocabulary = Vocabulary.build(corpus.words, corpus.counts(sets[0]), vocabulary_size)
    statistics = text_statistics(corpus, vocabulary, sets[0])
    used = min(length, statistics.longest)
    train, validation, test = encode_sets(corpus, labels_by_row, vocabulary, used, sets)
    return TextData(
        name=table.path.name,
        train=train,
        validation=validation,
        test=test,
        vocabulary=vocabulary,
        class_names=class_names,
        statistics=statistics,
        notes=tuple(
            _notes(len(corpus) - len(rows), (vocabulary_size, length), vocabulary, used)
            + _small_classes(class_names, labels, len(sets))
        ),
    )


def _read(table: TextTable, progress: bool) -> tuple[Corpus, list[str], list[int | str]]:
    """The words, labels and positions of all rows; the texts themselves are not kept."""
    labels: list[str] = []
    positions: list[int | str] = []

    def texts() -> Iterator[str]:
        for row in table.rows():
            labels.append(row.label)
            positions.append(row.position)
            if len(positions) % _REPORT_EVERY == 0:
                done(table.done)
            yield row.text

    with progress_line(f"reading {table.path.name}", shown=progress) as done:
        corpus = tokenize_all(texts())
    if not len(corpus):
        raise UserError(f"{table.path} holds no texts; give a table or a folder with some")
    return corpus, labels, positions


def _number_classes(names: Sequence[str], table: TextTable) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes in order, and each text's class, int64 [n]."""
    numeric = all(re.fullmatch(r"-?\d{1,18}", name, re.ASCII) for name in set(names))
    order = sorted(set(names), key=lambda name: (int(name) if numeric else 0, name))
    column = table.columns["label"]
    source = f"column '{column}' of {table.path}" if column else str(table.path)
    if len(order) < 2:
        only = f"only the class '{order[0]}'" if order else "no class"
        raise UserError(f"{source} has {only}; give texts of two or more classes")
    if len(order) > max(2, len(names) // 2):
        raise UserError(
            f"{source} has {len(order)} different labels for {len(names)} texts, which is no class "
            "to learn; name the right column with label_column"
        )
    numbers = {name: number for number, name in enumerate(order)}
    return tuple(order), np.fromiter((numbers[name] for name in names), np.int64, len(names))


def _notes(
    num_skipped: int, requested: tuple[int, int], vocabulary: Vocabulary, length: int
) -> list[str]:
    """What differs from the requested size of the vocabulary and length of a text."""
    notes = []
    if num_skipped:
        notes.append(f"{num_skipped:,} texts without words left out")
    size, longest = requested
    if vocabulary.size < size:
        distinct = vocabulary.num_distinct
        notes.append(f"the training texts have {distinct:,} words, {size:,} asked for")
    if length < longest:
        notes.append(f"the longest training text has {length:,} words, {longest:,} asked for")
    return notes


def _small_classes(names: Sequence[str], labels: np.ndarray, num_sets: int) -> list[str]:
    counts = np.bincount(labels, minlength=len(names))
    small = [name for name, count in zip(names, counts, strict=True) if count < num_sets]
    if not small:
        return []
    listed = ", ".join(f"'{name}'" for name in small[:5]) + (", …" if len(small) > 5 else "")
    return [f"too few texts to be in every set: {listed}"]
