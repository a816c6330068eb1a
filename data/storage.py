"""Files of a run, on a local disk or in an object store, never half-written."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError

__all__ = ["Storage"]


class Storage:
    """A folder, by path or by URI (`runs`, `/mnt/x`, `s3://bucket/prefix`).

    Every method takes paths relative to the folder. Writing replaces a file whole: locally through
    a temporary file and a rename, in an object store by one upload.

    Args:
        uri: the folder. A local one is made when the first file is written.

    Raises:
        UserError: the URI's scheme has no file system.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = str(uri).rstrip("/") or "/"
        self._root: Path | None = None
        self._fs: Any = None
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", self.uri) and not self.uri.startswith("file:///"):
            self._fs, self._prefix = _filesystem(self.uri)
        else:
            self._root = Path(self.uri.removeprefix("file://")).expanduser().absolute()
            self.uri = str(self._root)

    def __truediv__(self, name: str) -> Storage:
        return Storage(f"{self.uri}/{name}")

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    @property
    def local(self) -> Path | None:
        """The folder's path on this machine, or None for an object store."""
        return self._root

    def exists(self, name: str) -> bool:
        """Whether a file (or, locally, a folder) of that name is there."""
        if self._root is not None:
            return (self._root / name).exists()
        from pyarrow import fs

        return bool(self._fs.get_file_info(self._key(name)).type != fs.FileType.NotFound)

    def read(self, name: str, length: int | None = None) -> bytes:
        """The contents, or the first `length` bytes; raises FileNotFoundError."""
        if self._root is not None:
            with (self._root / name).open("rb") as file:
                return file.read(-1 if length is None else length)
        with self._fs.open_input_stream(self._key(name)) as stream:
            return bytes(stream.read(length))

    def files(self) -> Iterator[tuple[str, int]]:
        """All files at any depth: (name with `/` between folders, size in bytes); in any order."""
        if self._root is not None:
            for folder, _, names in os.walk(self._root, followlinks=True):
                for name in names:
                    path = Path(folder) / name
                    if path.is_file():
                        yield path.relative_to(self._root).as_posix(), path.stat().st_size
            return
        from pyarrow import fs

        selector = fs.FileSelector(self._prefix, allow_not_found=True, recursive=True)
        for info in self._fs.get_file_info(selector):
            if info.type == fs.FileType.File:
                yield info.path[len(self._prefix) + 1 :], info.size

    def modified(self, name: str) -> float | None:
        """When a file was last written, in seconds since 1970; None if it is not there."""
        if self._root is not None:
            path = self._root / name
            return path.stat().st_mtime if path.exists() else None
        seconds = self._fs.get_file_info(self._key(name)).mtime_ns
        return None if seconds is None else float(seconds) / 1e9

    def write(self, name: str, content: bytes | str) -> None:
        """Writes the whole file, or leaves what was there."""
        blob = content.encode() if isinstance(content, str) else content
        if self._root is None:
            with self._fs.open_output_stream(self._key(name)) as stream:
                stream.write(blob)
            return
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(blob)
            os.chmod(temporary, 0o644)  # noqa: PTH101
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"


def _filesystem(uri: str) -> tuple[Any, str]:
    from pyarrow import ArrowInvalid, fs

    mend = "use a folder or s3://bucket/folder"
    if not re.match(r"[A-Za-z0-9+.-]+://[^/]", uri):
        raise UserError(f"storage {uri!r} is neither a path nor a whole address; {mend}")
    try:
        filesystem, prefix = fs.FileSystem.from_uri(uri)
    except (ArrowInvalid, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"storage {uri!r} cannot be used: {reason[:200]}; {mend}") from None
    return filesystem, prefix.rstrip("/")
