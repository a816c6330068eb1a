"""TensorBoard's embedding projector: vectors and their labels as files that its plugin loads."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

__all__ = ["remove_projector", "write_projector"]

_CONFIG = "projector_config.pbtxt"
_BLANK = "(none)"
_MAX_PIXELS = 8192


def write_projector(
    folder: Path,
    name: str,
    vectors: np.ndarray,
    metadata: Mapping[str, Sequence[str]],
    thumbnails: np.ndarray | None = None,
) -> None:
    """Adds vectors to a folder, so that `tensorboard --logdir` shows them in its Projector tab.

    Writes `NAME.tensors.tsv`, `NAME.metadata.tsv`, perhaps `NAME.sprites.png` and the plugin's
    `projector_config.pbtxt`; what other names the folder has stays. TensorBoard only looks at
    folders that hold an event file (or at the logdir itself), so a folder without one gets an empty
    one. A TensorBoard that runs already shows a new folder by itself, but a new name in a known
    folder only after a restart.

    Args:
        folder: a local folder, made if missing. The plugin reads no object stores.
        name: what the projector calls the vectors: letters, digits, `_`, `-` and `.`.
        vectors: float[n, d], written with float32's precision.
        metadata: label columns by their names, n texts each; the first one labels the points.
            Tabs and line breaks become spaces, empty texts `(none)`: the projector drops blank
            lines, and every later label would then belong to the wrong point.
        thumbnails: pictures of the points, uint8 [n, height, width, 3]; the sheet of all of them
            has at most 8,192 pixels a side, which is what graphics cards take as one texture.

    Raises:
        UserError: the name, a shape or a column's length does not fit, a number is not finite, or
            the folder's configuration is not readable.
    """
    _check(name, vectors, metadata)
    from tensorboard.plugins.projector import EmbeddingInfo

    config = _config(folder)
    storage = Storage(folder)
    info = EmbeddingInfo(tensor_name=name, tensor_path=f"{name}.tensors.tsv")
    info.tensor_shape.extend(vectors.shape)
    storage.write(info.tensor_path, _tensor_tsv(vectors))
    if metadata:
        info.metadata_path = f"{name}.metadata.tsv"
        storage.write(info.metadata_path, _metadata_tsv(metadata))
    if thumbnails is not None:
        info.sprite.image_path = f"{name}.sprites.png"
        info.sprite.single_image_dim.extend((thumbnails.shape[2], thumbnails.shape[1]))
        storage.write(info.sprite.image_path, _sheet(name, thumbnails))
    others = [e for e in config.embeddings if e.tensor_name != name]
    del config.embeddings[:]
    config.embeddings.extend([*others, info])

    from google.protobuf import text_format  # type: ignore[import-untyped]

    storage.write(_CONFIG, text_format.MessageToString(config, as_utf8=True))
    _make_visible(folder)


def remove_projector(folder: Path) -> None:
    """Lets the projector show nothing of a folder any more."""
    (folder / _CONFIG).unlink(missing_ok=True)


def _check(name: str, vectors: np.ndarray, metadata: Mapping[str, Sequence[str]]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(
            f"projector name {name!r}: use letters, digits, '_', '-' and '.', not first '-' or '.'"
        )
    if vectors.ndim != 2 or not vectors.size:
        raise UserError(f"projector {name}: vectors of shape {vectors.shape}; it takes [n, d], n>0")
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(vectors.astype(np.float32)).all(axis=1))
    if bad.size:
        raise UserError(
            f"projector {name}: {bad.size} of {len(vectors)} vectors hold NaN or infinity, the "
            f"first is row {bad[0]}; did the training diverge? Export another checkpoint"
        )
    for column, texts in metadata.items():
        if len(texts) != len(vectors):
            raise UserError(
                f"projector {name}: column '{column}' has {len(texts)} texts for {len(vectors)} "
                "vectors; give one text a vector"
            )


def _config(folder: Path) -> Any:
    """The folder's `ProjectorConfig`, empty if it has none."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector import ProjectorConfig

    path = folder / _CONFIG
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return text_format.Parse(text, ProjectorConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}; delete or fix the file") from None


def _tensor_tsv(vectors: np.ndarray) -> bytes:
    """One row a vector, each number the shortest text that reads back as the same float32."""
    import pyarrow as pa
    from pyarrow import csv

    columns = [pa.array(np.ascontiguousarray(c)) for c in vectors.astype(np.float32).T]
    table = pa.Table.from_arrays(columns, names=[str(i) for i in range(len(columns))])
    buffer = io.BytesIO()
    csv.write_csv(table, buffer, csv.WriteOptions(include_header=False, delimiter="\t"))
    return buffer.getvalue()


def _metadata_tsv(metadata: Mapping[str, Sequence[str]]) -> str:
    """The columns, under a header only if there are several: the plugin tells by the first tab."""
    rows = [[_cell(text) for text in row] for row in zip(*metadata.values(), strict=True)]
    if len(metadata) > 1:
        rows.insert(0, [_cell(column) for column in metadata])
    return "".join("\t".join(row) + "\n" for row in rows)


def _cell(text: object) -> str:
    return " ".join(str(text).split()) or _BLANK


def _sheet(name: str, thumbnails: np.ndarray) -> bytes:
    """All pictures as one, row by row in a square, as the plugin cuts them out again."""
    from PIL import Image

    count, height, width, _ = thumbnails.shape
    side = math.ceil(math.sqrt(count))
    if side * max(height, width) > _MAX_PIXELS:
        raise UserError(f"projector {name}: {count} pictures of {width} x {height} pixels are too "
                        f"large a sheet; give fewer or smaller ones")  # fmt: skip
    cells = np.zeros((side * side, height, width, 3), np.uint8)
    cells[:count] = thumbnails
    # [side, height, side, width, 3]: lines of pixels across a whole row of pictures.
    rows = cells.reshape(side, side, height, width, 3).swapaxes(1, 2)
    buffer = io.BytesIO()
    Image.fromarray(rows.reshape(side * height, side * width, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def _make_visible(folder: Path) -> None:
    """Adds an event file without events, unless the folder has an event file."""
    if any(folder.glob("*tfevents*")):
        return
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    EventFileWriter(str(folder)).close()
