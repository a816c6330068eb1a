"""Tables of users and items: reads them and makes features of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raysweep.core.errors import UserError
from raysweep.data.ratings.ratings import Features
from raysweep.data.tables.encoding import check_encoding
from raysweep.data.tables.streams import AnyPath

__all__ = [
    "Item",
    "User",
    "item_features",
    "read_ml_1m_items",
    "read_ml_1m_users",
    "read_ml_100k_items",
    "read_ml_100k_users",
    "read_ml_latest_items",
    "read_wheel_items",
    "read_wheel_users",
    "title_year",
    "user_features",
]

_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_NO_GENRE = ("", "unknown", "(no genres listed)")
_ML_1M_OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes:
        title: With the year, if known, in brackets at its end.
        year: When it came out, or None.
        genres: Names of its genres; empty where none is known.
    """

    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()


@dataclass(frozen=True)
class User:
    """One user.

    Attributes:
        age: In years, or None.
        gender: As in the file, e.g. `F`; empty where it is not known.
        occupation: Name of the occupation; empty where it is not known.
    """

    age: float | None = None
    gender: str = ""
    occupation: str = ""


def read_ml_100k_items(path: AnyPath) -> dict[str, Item]:
    """Reads `u.item`: id|title|release|video release|address|19 flags of genres."""
    return {
        row[0]: _item(row[1], [g for g, flag in zip(_GENRES, row[5:], strict=True) if flag == "1"])
        for _, row in _rows(path, "|", 5 + len(_GENRES))
    }


def read_ml_100k_users(path: AnyPath) -> dict[str, User]:
    """Reads `u.user`: id|age|gender|occupation|zip code."""
    return {
        row[0]: User(_age(path, line, row[1]), row[2], row[3]) for line, row in _rows(path, "|", 5)
    }


def read_ml_1m_items(path: AnyPath) -> dict[str, Item]:
    """Reads `movies.dat`: id::title::genre|genre."""
    return {row[0]: _item(row[1], row[2].split("|")) for _, row in _rows(path, "::", 3)}


def read_ml_1m_users(path: AnyPath) -> dict[str, User]:
    """Reads `users.dat`: id::gender::age::number of the occupation::zip code."""
    users = {}
    for line, (user, gender, age, occupation, _) in _rows(path, "::", 5):
        numbered = occupation.isdigit() and int(occupation) < len(_ML_1M_OCCUPATIONS)
        name = _ML_1M_OCCUPATIONS[int(occupation)] if numbered else occupation
        users[user] = User(_age(path, line, age), gender, name)
    return users


def read_ml_latest_items(path: AnyPath) -> dict[str, Item]:
    """Reads `movies.csv` of ml-latest, ml-latest-small, ml-20m, ml-25m and ml-32m."""
    check_encoding(path)
    rows = _rows(path, ",", 3, quoted=True)
    next(rows, None)  # the header
    return {row[0]: _item(row[1], row[2].split("|")) for _, row in rows}


def read_wheel_items(path: AnyPath) -> dict[str, Item]:
    """Reads the wheel's `.item`: tabs, a header of `name:type`, title and year apart."""
    items = {}
    for _, row in _named_rows(path):
        title, year = _first(row, "movie_title", "title"), _first(row, "release_year", "year")
        if year.isdigit() and title_year(title) is None:
            title = f"{title} ({year})"
        genres = _first(row, "class", "genre", "genres").split()
        items[row["item_id"]] = _item(title, genres)
    return items


def read_wheel_users(path: AnyPath) -> dict[str, User]:
    """Reads the wheel's `.user`: tabs, a header of `name:type`."""
    return {
        row["user_id"]: User(
            _age(path, line, row.get("age", "")), row.get("gender", ""), row.get("occupation", "")
        )
        for line, row in _named_rows(path)
    }


def title_year(title: str) -> int | None:
    """Returns the year in brackets at a title's end: 1995 for `Toy Story (1995)`; else None."""
    match = re.search(r"\((\d{4})\)\s*$", title)
    return int(match[1]) if match else None


def item_features(items: Sequence[Item | None]) -> Features | None:
    """Makes features of genres (0 or 1) and of the year (standardised).

    Args:
        items: One for each row, in order; None for an item without an entry.

    Returns:
        Features, one row an item, or None where neither a genre nor a year is known.
    """
    filled = [item or Item("") for item in items]
    genres = sorted({genre for item in filled for genre in item.genres})
    columns = [(f"genre={g}", [float(g in item.genres) for item in filled]) for g in genres]
    return _features(columns, "year", [item.year for item in filled])


def user_features(users: Sequence[User | None]) -> Features | None:
    """Makes features of gender and occupation (0 or 1) and of the age (standardised).

    Args:
        users: One for each row, in order; None for a user without an entry.

    Returns:
        Features, one row a user, or None where nothing is known.
    """
    filled = [user or User() for user in users]
    columns = _one_hot("gender", [user.gender for user in filled])
    columns += _one_hot("occupation", [user.occupation for user in filled])
    return _features(columns, "age", [user.age for user in filled])


def _one_hot(name: str, values: Sequence[str]) -> list[tuple[str, list[float]]]:
    return [
        (f"{name}={kind}", [float(value == kind) for value in values])
        for kind in sorted(set(values) - {""})
    ]


def _features(
    columns: list[tuple[str, list[float]]], name: str, numbers: Sequence[float | None]
) -> Features | None:
    values = np.array([np.nan if x is None else x for x in numbers], np.float64)
    if not np.isnan(values).all():
        spread = np.nanstd(values) or 1.0
        columns = [*columns, (name, np.nan_to_num((values - np.nanmean(values)) / spread).tolist())]
    if not columns:
        return None
    table = np.array([column for _, column in columns], np.float32).T
    return Features(tuple(column for column, _ in columns), np.ascontiguousarray(table))


def _item(title: str, genres: Sequence[str]) -> Item:
    kept = tuple(genre for genre in genres if genre not in _NO_GENRE)
    return Item(title, title_year(title), kept)


def _age(path: AnyPath, line: int, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise UserError(
            f"{path}, line {line}, column 'age': '{text}' is not a number; correct it"
        ) from None


def _first(row: dict[str, str], *names: str) -> str:
    return next((row[name] for name in names if name in row), "")


def _named_rows(path: AnyPath) -> Iterator[tuple[int, dict[str, str]]]:
    rows = _rows(path, "\t", 0)
    _, header = next(rows, (0, []))
    names = [name.partition(":")[0] for name in header]
    key = "user_id" if path.name.endswith(".user") else "item_id"
    if key not in names:
        raise UserError(f"{path}, line 1: no column '{key}'; its header must name it")
    for line, row in rows:
        _check_width(path, line, row, len(names))
        yield line, dict(zip(names, row, strict=True))


def _rows(
    path: AnyPath, delimiter: str, width: int, *, quoted: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields; old files in Latin-1 are read as such. Width 0: any."""
    with path.open("rb") as file:
        raw: bytes = file.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = text.split("\n")
    split: Callable[[str], list[str]] = lambda line: line.split(delimiter)  # noqa: E731
    if quoted:
        split = lambda line: next(csv.reader([line], delimiter=delimiter))  # noqa: E731
    for number, line in enumerate(lines, 1):
        if line := line.rstrip("\r"):
            row = split(line)
            if width:
                _check_width(path, number, row, width)
            yield number, row


def _check_width(path: AnyPath, line: int, row: list[str], width: int) -> None:
    if len(row) != width:
        raise UserError(
            f"{path}, line {line}: {len(row)} fields where {width} are expected; correct the line"
        )
