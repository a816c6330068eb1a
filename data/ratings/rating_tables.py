"""Reads a table of ratings (CSV, TSV, Parquet) in a stream, with bounded memory.

Only one block of text is in memory at a time; ids become int32 indices as they are read. The fast
path is vectorised; where it meets a bad value, a second, slow pass looks for the line to name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysweep.core.errors import UserError
from raysweep.data.tables.errors import diagnose, empty_table
from raysweep.data.tables.streams import RatingsTable, csv_batches, parquet_batches

__all__ = ["TableContents", "read_table"]


@dataclass
class TableContents:
    """The columns of a table; users and items are numbered as they first appear.

    Attributes:
        user: Index of the user in `user_ids`, int32 [n].
        item: Index of the item in `item_ids`, int32 [n].
        rating: float32 [n], finite.
        timestamp: Seconds since 1970, int64 [n], or None.
        user_ids: Raw ids of the users.
        item_ids: Raw ids of the items.
        titles: Raw item id to the first title that stands beside it; empty without a title column.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None
    user_ids: list[str]
    item_ids: list[str]
    titles: dict[str, str] = field(default_factory=dict)


def read_table(table: RatingsTable, scale: tuple[float, float] | None) -> TableContents:
    """Reads and checks a table.

    Args:
        table: What to read.
        scale: Lowest and highest rating allowed, or None for any finite one.

    Returns:
        The columns, in the file's order.

    Raises:
        UserError: A value is missing, no number, not finite or outside the scale; a line has too
            few or too many fields; the text is not UTF-8; or there are no ratings.
    """
    import pyarrow as pa

    codes: dict[str, dict[str, int]] = {"user": {}, "item": {}}
    chunks: dict[str, list[np.ndarray]] = {role: [] for role in table.columns if role != "title"}
    titles: dict[int, str] = {}
    rows = 0
    try:
        for batch in parquet_batches(table) if not table.delimiter else csv_batches(table):
            for role, parts in chunks.items():
                parts.append(_column(table, role, batch[role], codes.get(role), rows, scale))
            if "title" in batch:
                _first_titles(titles, chunks["item"][-1], batch["title"])
            rows += len(batch["rating"])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        diagnose(table, error)
    if not rows:
        raise empty_table(table.path)
    arrays = {role: _joined(parts) for role, parts in chunks.items()}
    item_ids = list(codes["item"])
    return TableContents(
        arrays["user"],
        arrays["item"],
        arrays["rating"],
        arrays.get("timestamp"),
        list(codes["user"]),
        item_ids,
        {item_ids[code]: title for code, title in titles.items()},
    )


def _column(
    table: RatingsTable,
    role: str,
    column: Any,
    codes: dict[str, int] | None,
    first_row: int,
    scale: tuple[float, float] | None,
) -> np.ndarray:
    """Checks one column of a batch and makes it an int32, float32 or int64 array."""

    def refuse(bad: np.ndarray, problem: str, fix: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = column[row].as_py()
            raise UserError(
                f"{table.where(first_row + row)}, column '{table.columns[role]}': "
                f"{problem.format('' if value is None else value)}; {fix}"
            )

    if column.null_count:
        nulls = column.is_null().to_numpy(zero_copy_only=False)
        refuse(nulls, f"the {role} is missing", "fill it in or delete the line")
    if codes is not None:
        words = column.dictionary.to_pylist()
        lookup = [codes.setdefault(str(word), len(codes)) for word in words]
        return np.array(lookup, np.int32)[column.indices.to_numpy()]
    values = column.to_numpy(zero_copy_only=False)
    fix = "correct it or delete the line"
    refuse(~np.isfinite(values), f"the {role} {{:g}} is not a finite number", fix)
    if role == "timestamp":
        return values.astype(np.int64)
    if scale:
        outside = (values < scale[0]) | (values > scale[1])
        fix += ", or pass the right scale"
        refuse(outside, f"the rating {{:g}} is outside {scale[0]:g} to {scale[1]:g}", fix)
    return values.astype(np.float32)


def _first_titles(titles: dict[int, str], items: np.ndarray, column: Any) -> None:
    """Adds the titles of items that come up for the first time."""
    distinct, rows = np.unique(items, return_index=True)
    new = [k for k, code in enumerate(distinct.tolist()) if code not in titles]
    texts = column.dictionary_decode().take(rows[new]).to_pylist()
    titles.update({int(distinct[k]): text for k, text in zip(new, texts, strict=True) if text})


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenates the parts and frees them, so that only one column is in memory twice."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
