"""Lists of images with their classes and splits, from a folder or a CSV file."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.core.storage import Storage
from raysweep.data.tables.encoding import decode_utf8

__all__ = ["ALL", "ImageList", "image_names", "list_images", "path_of", "read_image"]

ALL = "all"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".jp2"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class ImageList:
    """n images in the order in which they are worked on.

    Attributes:
        root: the folder that paths are relative to, by path or URI.
        ids: path of each image, distinct, [n].
        labels: class of each image, an index into `classes`, int32 [n]; -1 where it is not known.
        splits: name of each image's split, [n].
        classes: names of the classes, sorted.
        fingerprint: 16 hex digits that change with any of that, and with the size of a file in a
            folder.
    """

    root: str
    ids: list[str]
    labels: np.ndarray
    splits: list[str]
    classes: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)


def list_images(uri: str) -> ImageList:
    """Lists the images of a folder, or those named in a CSV file.

    A folder is laid out as `split/class/image.jpg` (deeper folders count as their class's) or
    `class/image.jpg`, whose split is then called `all`. An image without a class folder has label
    -1. Hidden files are left out; any other file in a class folder is listed, even one that turns
    out to be no image.

    A CSV file has a header with `path`, and optionally `label` and `split`. Paths are relative to
    the file's folder, or whole paths or addresses.

    The order is shuffled, always in the same way: by a hash of the path.

    Args:
        uri: a folder or a file ending in `.csv`, on this machine or e.g. `s3://bucket/folder`.

    Returns:
        The images in their shuffled order.

    Raises:
        UserError: there is no such folder or file, it holds no images, or a row is wrong (the
            message has its line).
    """
    rows = _from_csv(uri) if uri.lower().endswith(".csv") else _from_folder(uri)
    if not rows.entries:
        raise UserError(
            f"{uri} holds no images; lay them out as split/class/image.jpg or class/image.jpg, "
            "or name a CSV file with the columns path, label and split"
        )
    entries = sorted(rows.entries, key=lambda e: hashlib.blake2b(e.path.encode()).digest())
    classes = tuple(sorted({e.label for e in entries if e.label}))
    numbers = {name: number for number, name in enumerate(classes)} | {"": -1}
    return ImageList(
        root=rows.root,
        ids=[e.path for e in entries],
        labels=np.array([numbers[e.label] for e in entries], np.int32),
        splits=[e.split for e in entries],
        classes=classes,
        fingerprint=fingerprint(*((e.path, e.label, e.split, e.size) for e in entries)),
    )


@dataclass(frozen=True)
class _Entry:
    path: str
    label: str
    split: str
    size: int = -1


@dataclass(frozen=True)
class _Entries:
    root: str
    entries: list[_Entry]


def image_names(names: Iterable[str]) -> list[str]:
    """Returns those relative paths that end as images do, sorted; no hidden files and folders."""
    return sorted(
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in _SUFFIXES and not _is_hidden(name)
    )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _from_folder(uri: str) -> _Entries:
    storage = Storage(uri)
    sizes = {name: size for name, size in storage.files() if not _is_hidden(name)}
    if not sizes and storage.local is not None and not storage.local.is_dir():
        raise UserError(f"no such folder of images: {storage.uri}; check the path")
    images = set(image_names(sizes))
    with_splits = any(name.count("/") >= 2 for name in images)
    entries = []
    for name, size in sizes.items():
        parts = name.split("/")
        split = parts[0] if with_splits and len(parts) > 1 else ALL
        label = parts[with_splits] if len(parts) > 1 + with_splits else ""
        # Files beside the class folders may be notes; all files in them are meant as images.
        if label or name in images:
            entries.append(_Entry(name, label, _checked_split(split, name), size))
    return _Entries(storage.uri, entries)


def _from_csv(uri: str) -> _Entries:
    folder, _, name = uri.rpartition("/")
    storage = Storage(folder or ("/" if uri.startswith("/") else "."))
    try:
        text = decode_utf8(storage.read(name), uri)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"no such file: {uri}; name a CSV file or a folder of images") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = [column.strip().lower() for column in reader.fieldnames or []]
    if "path" not in header:
        raise UserError(
            f"{uri}, line 1: no column 'path' (columns: {', '.join(header) or 'none'}); "
            "the first line names the columns path, label and split"
        )
    reader.fieldnames = header
    entries, lines = [], dict[str, int]()
    for row in reader:
        where = f"{uri}, line {reader.line_num}"
        values = {column: (row.get(column) or "").strip() for column in ("path", "label", "split")}
        path = values["path"]
        if not path:
            raise UserError(f"{where}: no path; fill it in or delete the line")
        if path in lines:
            raise UserError(f"{where}: {path} is in line {lines[path]}, too; keep one of them")
        lines[path] = reader.line_num
        split = _checked_split(values["split"] or ALL, where)
        entries.append(_Entry(path, values["label"], split))
    return _Entries(storage.uri, entries)


def _checked_split(split: str, where: str) -> str:
    """The split, which becomes part of file names; raises UserError where it cannot."""
    if not re.fullmatch(r"\w[\w.-]*", split):
        raise UserError(
            f"{where}: a split cannot be called {split!r}; use letters, digits, '-' and '_'"
        )
    return split


def read_image(storage: Storage, path: str) -> bytes:
    """Returns the contents of a listed image.

    Args:
        storage: the list's root.
        path: the image's id.

    Raises:
        OSError: it cannot be read.
    """
    if _ADDRESS.match(path):
        folder, _, name = path.rpartition("/")
        return Storage(folder).read(name)
    return storage.read(path)


def path_of(root: str, path: str) -> str:
    """Returns the whole path or URI of a listed image, given the list's root and the image's id."""
    return path if path.startswith("/") or _ADDRESS.match(path) else f"{root}/{path}"
