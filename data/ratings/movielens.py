"""MovieLens and other ratings: reads every official layout, the wheel's, and tables of your own.

from raysweep.data.ratings.movielens import load, split
ratings = load(fetch("ml-100k"))
sets = split(ratings, by="random", seed=0)
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.data.ratings.duplicates import POLICIES, resolve_duplicates
from raysweep.data.ratings.movielens_formats import Layout, detect
from raysweep.data.ratings.rating_tables import TableContents, read_table
from raysweep.data.ratings.ratings import Features, Interactions, Ratings, Split
from raysweep.data.ratings.side_tables import Item, item_features, title_year, user_features
from raysweep.data.ratings.splits import split
from raysweep.data.tables.streams import AnyPath

__all__ = ["Features", "Interactions", "Ratings", "Split", "load", "split"]


def load(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
    duplicates: str = "error",
) -> Ratings:
    """Reads ratings.

    Args:
        path: A folder in the layout of ml-100k, ml-1m, ml-latest, ml-25m or of the wheel; a zip
            file of one; or a CSV, TSV or Parquet file with a header.
        columns: Names of the columns of a file of your own, by role: `user`, `item`, `rating`,
            and optionally `timestamp` (seconds since 1970) and `title`. Default: the usual names.
        scale: Lowest and highest rating allowed; default 1 to 5 or 0.5 to 5 for MovieLens, else
            the lowest and the highest that occur.
        duplicates: What to do where a user rated an item twice: `error`, `first`, `last` or `mean`;
            see `duplicates.resolve_duplicates`.

    Returns:
        All ratings, with what is known about users and items.

    Raises:
        UserError: The file is missing, empty, in another encoding or layout; a rating is missing,
            not finite, outside the scale or a duplicate; there are fewer than 2 users or items; or
            an argument is out of range.
    """
    path = Path(path).expanduser()
    if duplicates not in POLICIES:
        raise UserError(f"duplicates: no policy '{duplicates}'{nearest(duplicates, POLICIES)}")
    if scale and not (math.isfinite(scale[0]) and scale[0] < scale[1] < math.inf):
        raise UserError(f"scale: {scale} must be two finite numbers, the lower one first")
    with _opened(path) as root:
        layout = detect(root, columns)
        contents = read_table(layout.table, scale or layout.scale)
        return _assemble(_name(path), layout, contents, scale or layout.scale, duplicates)


@contextmanager
def _opened(path: Path) -> Iterator[AnyPath]:
    """Gives a zip file's contents the look of a folder."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; `raysweep data list` shows the datasets")
    if path.suffix.lower() != ".zip":
        yield path
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is no zip file or damaged; download it again") from error
    with archive:
        yield zipfile.Path(archive)


def _name(path: Path) -> str:
    return path.stem if path.is_file() and path.suffix else path.resolve().name


def _assemble(
    name: str,
    layout: Layout,
    contents: TableContents,
    scale: tuple[float, float] | None,
    duplicates: str,
) -> Ratings:
    path = layout.table.path
    user_ids, user = _sorted_ids(contents.user_ids, contents.user)
    item_ids, item = _sorted_ids(contents.item_ids, contents.item)
    for role, ids in (("users", user_ids), ("items", item_ids)):
        if len(ids) < 2:
            raise UserError(f"{path} has fewer than 2 {role}; give ratings of more of them")
    if scale is None:
        scale = (float(contents.rating.min()), float(contents.rating.max()))

    def describe(first: int, second: int) -> str:
        return (
            f"{layout.table.where(second)}: user '{user_ids[user[second]]}' rated item "
            f"'{item_ids[item[second]]}' before, {layout.table.where(first)}"
        )

    rows = Interactions(user, item, contents.rating, contents.timestamp)
    rows = resolve_duplicates(rows, duplicates, describe)
    table = layout.items() if layout.items else {}
    table = table or {key: Item(t, title_year(t)) for key, t in contents.titles.items()}
    items = [table.get(raw) for raw in item_ids.tolist()]
    users = layout.users() if layout.users else {}
    return Ratings(
        name=name,
        interactions=rows,
        user_ids=user_ids,
        item_ids=item_ids,
        titles=_titles(items, item_ids) if table else None,
        genres=_genres(items),
        user_features=user_features([users.get(raw) for raw in user_ids.tolist()]),
        item_features=item_features(items),
        scale=scale,
    )


def _sorted_ids(ids: Sequence[str], codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts ids by number if all are whole numbers, else as text, and renumbers the codes."""
    numeric = all(re.fullmatch(r"-?\d{1,18}", raw, re.ASCII) for raw in ids)
    order = sorted(range(len(ids)), key=lambda k: (int(ids[k]) if numeric else 0, ids[k]))
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    return np.array([ids[k] for k in order], dtype=str), rank[codes]


def _titles(items: Sequence[Item | None], item_ids: np.ndarray) -> np.ndarray:
    pairs = zip(items, item_ids.tolist(), strict=True)
    return np.array([item.title if item and item.title else raw for item, raw in pairs], dtype=str)


def _genres(items: Sequence[Item | None]) -> tuple[tuple[str, ...], ...] | None:
    genres = tuple(item.genres if item else () for item in items)
    return genres if any(genres) else None
