"""A table of ratings as a stream of Arrow batches: CSV, TSV, `::` between fields, or Parquet."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["AnyPath", "RatingsTable", "csv_batches", "parquet_batches", "seekable"]

AnyPath = Path | zipfile.Path
"""A file or folder on disk or inside a zip file; both have `/`, `name`, `open` and `iterdir`."""

_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 19


@dataclass(frozen=True, kw_only=True)
class RatingsTable:
    """A file of ratings and its layout.

    Attributes:
        path: The file.
        names: Names of all its columns, in order.
        columns: Which column has which role: keys `user`, `item`, `rating`, and where there are
            such columns `timestamp` and `title`.
        delimiter: Between fields: one character, or `::`; empty for Parquet.
        header_lines: Lines before the first rating.
        quoted: Whether fields can be in double quotes, with delimiters and newlines inside.
    """

    path: AnyPath
    names: tuple[str, ...]
    columns: dict[str, str]
    delimiter: str = ","
    header_lines: int = 0
    quoted: bool = False

    def where(self, row: int) -> str:
        """Returns the file and the line of a row, from 0, for messages; reads the file for it."""
        if not self.delimiter:
            return f"{self.path}, row {row + 1}"
        for number, (line, _) in enumerate(self.lines()):
            if number == row:
                return f"{self.path}, line {line}"
        return f"{self.path}, rating {row + 1}"

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the line number (from 1) and the fields of each row, slowly."""
        with self.path.open("rb") as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
            for _ in range(self.header_lines):
                next(text, None)
            reader = csv.reader(
                text,
                delimiter=self.delimiter[:1],
                quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            )
            start = 1
            for fields in reader:
                if fields:
                    yield self.header_lines + start, fields[:: len(self.delimiter)]
                start = reader.line_num + 1


def csv_batches(table: RatingsTable) -> Iterator[dict[str, Any]]:
    """Reads a text table, one block after another.

    Yields:
        Arrow columns by role: ids and titles dictionary-encoded, numbers as float64.

    Raises:
        pyarrow.ArrowInvalid: A line has another number of fields, or a value is no number.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    step = len(table.delimiter)  # `::` is read as `:` with an empty column between two others
    names = [name if not gap else f"{name}:{gap}" for name in table.names for gap in range(step)][
        : step * len(table.names) - step + 1
    ]
    text = pa.dictionary(pa.int32(), pa.string())
    types = {"user": text, "item": text, "title": text}
    with table.path.open("rb") as file:
        reader = arrow_csv.open_csv(
            pa.PythonFile(file, mode="r") if isinstance(table.path, zipfile.Path) else file,
            read_options=arrow_csv.ReadOptions(
                block_size=_BLOCK_BYTES, column_names=names, skip_rows=table.header_lines
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=table.delimiter[0],
                quote_char='"' if table.quoted else False,
                newlines_in_values=table.quoted,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(table.columns.values()),
                column_types={n: types.get(r, pa.float64()) for r, n in table.columns.items()},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        for batch in reader:
            yield {role: batch.column(name) for role, name in table.columns.items()}


def parquet_batches(table: RatingsTable) -> Iterator[dict[str, Any]]:
    """Reads a Parquet table, one batch of rows after another.

    Yields:
        The same as `csv_batches`; Parquet's own timestamps become seconds since 1970.

    Raises:
        pyarrow.ArrowInvalid: The file is damaged, or a value is no number.
        pyarrow.ArrowNotImplementedError: A column has a type that is no number.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def converted(role: str, column: Any) -> Any:
        if role in ("user", "item", "title"):
            texts = column if pa.types.is_dictionary(column.type) else column.cast(pa.string())
            return texts if texts is column else texts.dictionary_encode()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        return column.cast(pa.float64())

    with table.path.open("rb") as file:
        batches = parquet.ParquetFile(seekable(file)).iter_batches(
            _BATCH_ROWS, columns=list(table.columns.values())
        )
        for batch in batches:
            yield {r: converted(r, batch.column(name)) for r, name in table.columns.items()}


def seekable(file: IO[bytes]) -> IO[bytes]:
    """Returns the file itself, or its bytes in memory where it is a member of a zip file."""
    return io.BytesIO(file.read()) if isinstance(file, zipfile.ZipExtFile) else file
