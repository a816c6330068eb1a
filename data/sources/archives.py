"""Unpacks zip files, wheels and tar files without trusting them."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from raysweep.core.errors import UserError

__all__ = ["SUFFIXES", "is_archive", "unpack"]

SUFFIXES = (".zip", ".whl", ".tar.gz", ".tgz", ".tar")

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)
_Member = tuple[str, Callable[[], "IO[bytes] | None"]]


def is_archive(path: Path) -> bool:
    """Returns whether a file's name ends like that of an archive which `unpack` reads."""
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, *, only: str = "") -> Path:
    """Unpacks an archive into a new folder that appears all at once.

    The members go to a temporary folder beside `folder`, which is then renamed. An archive whose
    members all lie in one top-level folder is unpacked without that folder.

    Args:
        archive: A file with one of `SUFFIXES`.
        folder: The folder to create; it must not exist.
        only: Unpack this folder of the archive alone, e.g. `package/data`; default all.

    Returns:
        `folder`.

    Raises:
        UserError: The archive is damaged, holds nothing of `only`, or has a member that is a link
            or a device or that would land outside the folder. Nothing is left behind.
    """
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _write_members(archive, temporary, only)
        _single_folder(temporary / only).rename(folder)
    except _BROKEN as error:
        raise UserError(
            f"{archive} is damaged or no archive ({error}); delete it and download it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_members(archive: Path, folder: Path, only: str) -> None:
    prefix = f"{only}/" if only else ""
    members = _zip_members if archive.name.endswith((".zip", ".whl")) else _tar_members
    is_empty = True
    for name, opened in members(archive):
        if not name.startswith(prefix) or name.startswith("__MACOSX/"):
            continue
        target = _inside(archive, folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = opened()
        assert source is not None
        with source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        is_empty = False
    if is_empty:
        raise UserError(
            f"{archive} holds no file{f' in {only}/' if only else ''}; download it again"
        )


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, info.filename, "is a link or a device")
            if not info.is_dir():
                yield info.filename, lambda info=info: opened.open(info)  # type: ignore[misc]


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if not (info.isfile() or info.isdir()):
                raise _unsafe(archive, info.name, "is a link or a device")
            if info.isfile():
                name = info.name.removeprefix("./")
                yield name, lambda info=info: opened.extractfile(info)  # type: ignore[misc]


def _inside(archive: Path, folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise _unsafe(archive, name, "would land outside its folder")
    return folder.joinpath(*path.parts)


def _unsafe(archive: Path, name: str, why: str) -> UserError:
    return UserError(
        f"refused to unpack {archive}: its member {name!r} {why}; "
        "take the archive from its official address"
    )


def _single_folder(folder: Path) -> Path:
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
