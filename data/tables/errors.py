"""Which line of a table of ratings the fast reader could not read, and what to do about it."""

from __future__ import annotations

import csv
import re
from typing import NoReturn

from raysweep.core.errors import UserError
from raysweep.data.tables.encoding import check_encoding
from raysweep.data.tables.streams import AnyPath, RatingsTable

__all__ = ["diagnose", "empty_table"]


def empty_table(path: AnyPath) -> UserError:
    """Returns the error for a table without rows."""
    return UserError(f"{path} holds no ratings; give a file with one rating a line")


def diagnose(table: RatingsTable, error: Exception) -> NoReturn:
    """Raises a UserError that names the line which the fast reader could not read.

    Args:
        table: What was read; it is read again, slowly.
        error: What the fast reader raised.

    Raises:
        UserError: Always.
    """
    if not table.delimiter:
        raise UserError(
            f"{table.path}: not readable as Parquet with numbers as ratings and timestamps: "
            f"{error}; correct the file"
        ) from error
    check_encoding(table.path)
    positions = {role: table.names.index(name) for role, name in table.columns.items()}
    number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
    is_empty = True
    try:
        for line, fields in table.lines():
            is_empty = False
            where = f"{table.path}, line {line}"
            if len(fields) != len(table.names):
                raise UserError(
                    f"{where}: {len(fields)} fields where {len(table.names)} are expected "
                    f"({', '.join(table.names)}); correct the line"
                ) from error
            for role in ("rating", "timestamp"):
                value = fields[positions[role]].strip() if role in positions else ""
                if value and not number.fullmatch(value):
                    unit = ", seconds since 1970" if role == "timestamp" else ""
                    raise UserError(
                        f"{where}, column '{table.columns[role]}': the {role} '{value}' is not a "
                        f"number{unit}; correct it or delete the line"
                    ) from error
    except csv.Error as bad:
        raise UserError(f"{table.path}: {bad}; correct that line") from error
    if is_empty:
        raise empty_table(table.path) from error
    raise UserError(f"{table.path}: {error}; correct the file") from error
