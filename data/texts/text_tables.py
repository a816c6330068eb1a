"""Reads texts with labels, row by row: CSV, TSV, JSON Lines, Parquet, or a folder of each class."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from raysweep.core.errors import UserError, nearest
from raysweep.data.tables.encoding import check_encoding, decode_utf8

__all__ = ["Row", "TextTable"]

_SUFFIXES = {
    ".csv": ",",
    ".tsv": "\t",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_USUAL = {
    "text": ("text", "review", "sentence", "comment", "content", "body", "document", "message"),
    "label": ("label", "class", "sentiment", "category", "target", "polarity", "label_text"),
}
_FIELD_BYTES = (1 << 31) - 1
_Role = Literal["text", "label"]


@dataclass(frozen=True)
class Row:
    """One text.

    Attributes:
        position: Its line or row, from 1, or its file below the folder.
        text: The text as it stands.
        label: The name of its class.
    """

    position: int | str
    text: str
    label: str


class TextTable:
    """A table, or a folder of folders, of texts with labels.

    Args:
        path: A .csv, .tsv, .jsonl, .ndjson, .parquet or .pq file, the first two with a header; or a
            folder with one folder of text files for each class, named like the class.
        text_column: Name of the column with the text; default one of the usual names.
        label_column: Name of the column with the class; likewise.

    Attributes:
        kind: `folder`, `json`, `parquet`, or the delimiter of a table.
        columns: Name of the column of each role, `text` and `label`; empty until it is known.
        done: The share that was read so far, from 0 to 1.

    Raises:
        UserError: There is no such file, or it is of another kind.
    """

    def __init__(self, path: Path, text_column: str = "", label_column: str = "") -> None:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give a table or a folder of texts")
        self.path = path
        self.kind = "folder" if path.is_dir() else _SUFFIXES.get(path.suffix.lower(), "")
        if not self.kind:
            raise UserError(
                f"{path}: cannot tell what it holds from its name; it must end with one of "
                f"{', '.join(_SUFFIXES)}, or be a folder with a folder of texts for each class"
            )
        if self.kind == "folder" and (text_column or label_column):
            raise UserError(
                f"{path} is a folder, whose texts have no columns; leave text_column and "
                "label_column out"
            )
        self.columns: dict[_Role, str] = {"text": text_column, "label": label_column}
        self.done = 0.0

    def where(self, position: int | str) -> str:
        """Returns where a row is, for messages."""
        if isinstance(position, str):
            return str(self.path / position)
        return f"{self.path}, {'row' if self.kind == 'parquet' else 'line'} {position}"

    def rows(self) -> Iterator[Row]:
        """Yields all rows; texts may be empty, labels not.

        Raises:
            UserError: A column or a value is missing, a value is of the wrong type, a line cannot
                be read, or the file is not UTF-8; the message names the line.
        """
        self.done = 0.0
        if self.kind == "folder":
            yield from self._folder_rows()
        elif self.kind == "parquet":
            yield from self._parquet_rows()
        elif self.kind == "json":
            yield from self._json_rows()
        elif self.kind == "\t":
            yield from self._tab_rows()
        else:
            yield from self._csv_rows(self.kind, quoted=True)

    def _row(self, position: int | str, text: Any, label: Any) -> Row:
        fix = "correct it or delete the row"
        named = _label_name(label)
        if named is None:
            raise UserError(
                f"{self.where(position)}, column '{self.columns['label']}': the label is missing "
                f"or not a class; {fix}"
            )
        text = "" if text is None or (isinstance(text, float) and math.isnan(text)) else text
        if not isinstance(text, str):
            raise UserError(
                f"{self.where(position)}, column '{self.columns['text']}': {str(text)[:40]!r} is "
                f"no text but of type {type(text).__name__}; {fix}, or name the right text_column"
            )
        return Row(position, text, named)

    def _choose(self, names: Sequence[str]) -> dict[_Role, str]:
        """Finds the columns, which become `self.columns`."""
        for role, usual in _USUAL.items():
            given = self.columns[role]  # type: ignore[index]
            by_lower = {name.lower(): name for name in reversed(names)}
            chosen = given or next((by_lower[name] for name in usual if name in by_lower), "")
            if chosen not in names:
                what = f"no column '{given}'" if given else f"no column named like a {role}"
                hint = nearest(given, names) if given else f"; its columns: {', '.join(names)}"
                raise UserError(f"{self.path} has {what}{hint}; name it with {role}_column")
            if list(names).count(chosen) > 1:
                raise UserError(f"{self.path} has two columns '{chosen}'; rename one of them")
            self.columns[role] = chosen  # type: ignore[index]
        if self.columns["text"] == self.columns["label"]:
            raise UserError(
                f"{self.path}: text_column and label_column are both '{self.columns['text']}'; "
                "name two columns"
            )
        return self.columns

    def _tab_rows(self) -> Iterator[Row]:
        """Reads TSV, which some programs write with quotes around texts and others without."""
        chosen = dict(self.columns)
        try:
            rows = list(self._csv_rows("\t", quoted=True))
        except UserError as error:
            self.columns = chosen
            try:
                rows = list(self._csv_rows("\t", quoted=False))
            except UserError:
                raise error from None
        yield from rows

    def _csv_rows(self, delimiter: str, *, quoted: bool) -> Iterator[Row]:
        csv.field_size_limit(max(csv.field_size_limit(), _FIELD_BYTES))
        size = max(self.path.stat().st_size, 1)
        start = 1
        try:
            with (
                self.path.open("rb") as raw,
                io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
            ):
                reader = csv.reader(
                    file,
                    delimiter=delimiter,
                    quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                    strict=True,
                )
                names = [name.strip() for name in next(reader, [])]
                if len(names) == 1 and names[0].count(";") and delimiter == ",":
                    yield from self._csv_rows(";", quoted=quoted)
                    return
                columns = self._choose(names)
                text, label = names.index(columns["text"]), names.index(columns["label"])
                start = reader.line_num + 1
                for fields in reader:
                    if len(fields) != len(names) and fields:
                        raise UserError(
                            f"{self.where(start)}: {len(fields)} fields where {len(names)} are "
                            f"expected ({', '.join(names)}); correct the line, with quotes around "
                            "a text that holds the separator"
                        )
                    if fields:
                        yield self._row(start, fields[text], fields[label])
                    start = reader.line_num + 1
                    self.done = raw.tell() / size
        except UnicodeDecodeError:
            check_encoding(self.path)
            raise
        except csv.Error as error:
            raise UserError(f"{self.where(start)}: {error}; correct the row there") from error

    def _json_rows(self) -> Iterator[Row]:
        size = max(self.path.stat().st_size, 1)
        columns: dict[_Role, str] = {}
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(decode_utf8(line, str(self.path), number))
                except ValueError as error:
                    raise UserError(
                        f"{self.where(number)}: not JSON ({error}); correct the line"
                    ) from error
                if not isinstance(value, dict):
                    raise UserError(
                        f'{self.where(number)}: not an object such as {{"text": "…", "label": "…"}}'
                        "; write one a line"
                    )
                columns = columns or self._choose(list(value))
                for name in columns.values():
                    if name not in value:
                        raise UserError(
                            f"{self.where(number)} has no '{name}'{nearest(name, value)}; add it"
                        )
                self.done = file.tell() / size
                yield self._row(number, value[columns["text"]], value[columns["label"]])

    def _parquet_rows(self) -> Iterator[Row]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(self.path)
            columns = self._choose(file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(8192, columns=list(columns.values())):
                texts, labels = (batch.column(columns[role]) for role in columns)
                for text, label in zip(texts.to_pylist(), labels.to_pylist(), strict=True):
                    number += 1
                    yield self._row(number, text, label)
                self.done = number / file.metadata.num_rows
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.path}: not readable as Parquet: {reason}; write it again"
            ) from error

    def _folder_rows(self) -> Iterator[Row]:
        classes = sorted(_visible(self.path, folders=True))
        files = {name: sorted(_visible(self.path / name, folders=False)) for name in classes}
        total = max(sum(map(len, files.values())), 1)
        number = 0
        for label, names in files.items():
            if not names:
                inner = sorted(_visible(self.path / label, folders=True))
                hint = f"its folder '{inner[0]}' has; give the folder around the classes"
                raise UserError(
                    f"{self.path / label} holds no text files; "
                    f"{hint if inner else 'add some, or delete the folder'}"
                )
            for name in names:
                number += 1
                self.done = number / total
                file = self.path / label / name
                yield Row(f"{label}/{name}", decode_utf8(file.read_bytes(), str(file)), label)


def _label_name(value: Any) -> str | None:
    """A class's name as text, or None where it is missing (NaN, empty) or no name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    if not isinstance(value, (str, int, float)):
        return None
    name = re.sub(r"(?<=\d)\.0+$", "", str(value).strip())
    return None if name.lower() in ("", "nan") else name


def _visible(folder: Path, *, folders: bool) -> list[str]:
    return [
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() if folders else entry.is_file())
    ]
