"""Keeps in the cache what takes long to compute: computed once, never half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from raysweep.core.errors import UserError
from raysweep.data.sources.fetch import cache_folder

__all__ = ["file_state", "prepared"]

T = TypeVar("T")
_DAMAGED = (OSError, ValueError, KeyError, EOFError)


def prepared(name: str, key: object, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """Loads a value from the cache, after building it where it is not there.

    `build` writes into a temporary folder, which is then renamed. Two processes that want the same
    value at once build it once. What is damaged in the cache is built again.

    Args:
        name: The start of the folder's name in the cache, e.g. `imdb`.
        key: Everything that the value depends on (source, settings, version), with a repr that
            differs where any of it does.
        build: Fills an empty folder.
        load: Reads such a folder; raises OSError, ValueError, KeyError or EOFError for a
            damaged one.

    Returns:
        What `load` returned.

    Raises:
        UserError: The cache cannot be written to, or `build` raised it.
    """
    from filelock import FileLock

    digest = hashlib.sha256(repr(key).encode(errors="surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "prepared" / f"{name}-{digest}"
    if folder.exists():
        try:
            return load(folder)
        except _DAMAGED:
            pass  # looked at again under the lock
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            try:
                return load(folder)  # another process may have built it meanwhile
            except _DAMAGED:
                shutil.rmtree(folder, ignore_errors=True)
            _build(folder, build)
            return load(folder)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {folder.parent}: {error}; "
            "make room there, or point RAYSWEEP_CACHE at another folder"
        ) from error


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    temporary = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        temporary.mkdir()
        build(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_state(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    """Returns a file's path, size in bytes and time of its last change in ns.

    They differ where the contents do, so that a key of `prepared` can hold them instead.

    Raises:
        OSError: There is no such file, or it cannot be looked at.
    """
    path = Path(path)
    state = path.stat()
    return str(path.resolve()), state.st_size, state.st_mtime_ns
