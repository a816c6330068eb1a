"""Rows of numbers to ask a model with: as they are, or from .csv, .tsv and .npy files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["read_rows"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ","}


def read_rows(inputs: Sequence[Any], shape: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Reads examples from rows and files.

    Args:
        inputs: each a row of numbers, or the path of a file with rows: of a .csv or .tsv file, with
            or without a line of names, all columns count.
        shape: of one example; a row may also have its numbers one after another.

    Returns:
        The examples, [n, *shape] of numbers, and where each comes from, for people.

    Raises:
        UserError: no file, one of another kind, something that is no number, or too few or too many
            numbers for an example.
    """
    parts, sources = [], []
    for number, each in enumerate(inputs, 1):
        is_path = isinstance(each, (str, os.PathLike))
        what = str(each) if is_path else f"row {number}"
        part = _shaped(what, _read_file(Path(each)) if is_path else _row(what, each), shape)
        parts.append(part)
        sources += [f"{what}, row {k}" for k in range(1, len(part) + 1)] if is_path else [what]
    return np.concatenate(parts), sources


def _row(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{what} is {values!r:.80}; give a row of numbers, or a .csv or .npy file")
    return array[None]


def _read_file(path: Path) -> np.ndarray:
    path = path.expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a .csv or .npy file with rows of numbers")
    kind = path.suffix.lower()
    if kind == ".npy":
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        if array.dtype.kind not in "fiub":
            raise UserError(f"{path} holds {array.dtype}, and no numbers")
        return array
    if kind not in _SEPARATORS:
        raise UserError(f"{path} is neither a .csv nor a .npy file; write the rows as one of these")
    return _read_table(path, _SEPARATORS[kind])


def _read_table(path: Path, separator: str) -> np.ndarray:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=separator, header=None, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors among them
        raise UserError(f"{path} cannot be read as a table: {error}") from None
    named = not all(map(_is_number, table.iloc[0]))
    rows = table.iloc[1:] if named else table
    if rows.empty:
        raise UserError(f"{path} has a line of names, and no rows")
    numbers = rows.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0].tolist()
        where = f"column {table.iloc[0, column]}" if named else f"column {column + 1}"
        raise UserError(
            f"{path}, row {row + 1}, {where}: {rows.iloc[row, column]!r} is no finite number"
        )
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shaped(what: str, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Examples [n, *shape] of an array that has them in this or in a flat form, or just one."""
    size, shape = math.prod(shape), tuple(shape)
    if array.shape == shape:
        array = array[None]
    if array.ndim == 0 or array.shape[1:] not in (shape, (size,)):
        has = " × ".join(map(str, array.shape[1:])) or "1"
        wanted = " × ".join(map(str, shape)) or "1"
        raise UserError(
            f"{what} has {has} numbers an example, and the model takes {wanted}; give just those, "
            "in the order in which it was trained on them"
        )
    return array.reshape(len(array), *shape)
