"""Rows to ask a model with: what is read, and what is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.tables.rows import read_rows

EXAMPLES = np.arange(12.0).reshape(3, 4) / 8


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def table(rows: np.ndarray, separator: str = ",", names: str = "") -> str:
    lines = [separator.join(map(str, row)) for row in rows.tolist()]
    return "\n".join([*([names] if names else []), *lines]) + "\n"


def test_rows_and_files_are_read_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", EXAMPLES)
    named = write(tmp_path, "b.csv", table(EXAMPLES, names="w,x,y,z"))
    tabs = write(tmp_path, "c.tsv", table(EXAMPLES, "\t"))
    given = [EXAMPLES[1].tolist(), tmp_path / "a.npy", named, tabs]
    rows, sources = read_rows(given, (4,))
    assert np.array_equal(rows, np.concatenate([EXAMPLES[1:2], EXAMPLES, EXAMPLES, EXAMPLES]))
    assert sources[:2] == ["row 1", f"{tmp_path / 'a.npy'}, row 1"]
    assert sources[4:6] == [f"{named}, row 1", f"{named}, row 2"]


@pytest.mark.parametrize("shape", [(3, 2, 2), (3, 4), (2, 2)])
def test_examples_of_several_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Several as they are or flat, or a single one."""
    given = np.arange(np.prod(shape)) / 8
    np.save(tmp_path / "a.npy", given.reshape(shape))
    rows, _ = read_rows([tmp_path / "a.npy"], (2, 2))
    assert rows.shape[1:] == (2, 2)
    assert np.array_equal(rows.ravel(), given)


def test_single_numbers(tmp_path: Path) -> None:
    rows, sources = read_rows([1.5, 2], ())
    assert rows.tolist() == [1.5, 2.0]
    assert sources == ["row 1", "row 2"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, 2.0], "row 1 has 2 numbers an example, and the model takes 4"),
        (["a", "b"], "give a row of numbers, or a .csv or .npy file"),
        ([[1, 2], [3]], "give a row of numbers"),
        ("gone.csv", "there is no file"),
        (("t.xlsx", ""), r"neither a .csv nor a .npy file"),
        (("t.npy", "nothing"), "cannot be read"),
        (("t.csv", ""), "cannot be read as a table"),
        (("t.csv", "a,b,c,d\n"), "has a line of names, and no rows"),
        (("t.csv", "1,2,3\n"), "has 3 numbers an example, and the model takes 4"),
        (("t.csv", "a,b,c,d\n1,2,3,4\n1,2,x,4\n"), "row 2, column c: 'x' is no finite number"),
        (("t.csv", "1,2,3,4\n1,,3,4\n"), "row 2, column 2: '' is no finite number"),
    ],
)
def test_what_is_refused(tmp_path: Path, given: Any, message: str) -> None:
    if isinstance(given, tuple):
        given = write(tmp_path, *given)
    with pytest.raises(UserError, match=message):
        read_rows([given], (4,))
