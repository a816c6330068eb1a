"""Files of a run, on a local disk or in an object store, never half-written."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from raysweep.core.errors import UserError

__all__ = ["PATIENCE", "Storage"]

PATIENCE = "RAYSWEEP_STORAGE_PATIENCE"
# Causes of errors that trying again does not fix.
_LASTING = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
_T = TypeVar("_T")


class Storage:
    """A folder, by path or by URI: `runs`, `/mnt/x`, `s3://bucket/prefix`.

    Every method takes paths relative to the folder. Writing replaces a file whole: locally through
    a temporary file and a rename, in an object store by one upload. An object store that fails is
    tried again for `$RAYSWEEP_STORAGE_PATIENCE` seconds, 120 by default, before OSError is raised.

    Args:
        uri: the folder. A local one is made when the first file is written. A store other than
            Amazon's is named by `?endpoint_override=host:port&scheme=https` at the end, or by
            `$AWS_ENDPOINT_URL`.

    Raises:
        UserError: the URI's scheme has no file system, or the URI holds credentials.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = str(uri).rstrip("/") or "/"
        self._root: Path | None = None
        self._fs: Any = None
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", self.uri) and not self.uri.startswith("file:///"):
            self._fs, self._prefix = self._connect()
        else:
            self._root = Path(self.uri.removeprefix("file://")).expanduser().absolute()
            self.uri = str(self._root)

    def __truediv__(self, name: str) -> Storage:
        if self._root is not None:
            return Storage(f"{self.uri}/{name}")
        below = copy.copy(self)  # with the same connections
        folder, mark, query = self.uri.partition("?")
        below.uri, below._prefix = f"{folder}/{name}{mark}{query}", self._key(name)
        return below

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    @property
    def name(self) -> str:
        """The folder's own name: the last part of its path or address."""
        return self.uri.partition("?")[0].rsplit("/", 1)[-1]

    @property
    def local(self) -> Path | None:
        """The folder's path on this machine, or None for an object store."""
        return self._root

    def arrow(self) -> tuple[Any, str]:
        """Arrow's file system, and the folder's path in it."""
        if self._root is None:
            return self._fs, self._prefix
        from pyarrow import fs

        return fs.LocalFileSystem(), str(self._root)

    def exists(self, name: str) -> bool:
        """Returns whether a file (or, locally, a folder) of that name is there."""
        if self._root is not None:
            return (self._root / name).exists()
        from pyarrow import fs

        info = self._patiently(lambda: self._fs.get_file_info(self._key(name)))
        return bool(info.type != fs.FileType.NotFound)

    def read(self, name: str, length: int | None = None) -> bytes:
        """Returns the contents of a file.

        Args:
            name: The file.
            length: Bytes to read from its start; all by default.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: It cannot be read.
        """
        if self._root is not None:
            with (self._root / name).open("rb") as file:
                return file.read(-1 if length is None else length)

        def download() -> bytes:
            with self._fs.open_input_stream(self._key(name)) as stream:
                return bytes(stream.read(length))

        return self._patiently(download)

    def files(self) -> Iterator[tuple[str, int]]:
        """Lists all files, at any depth and in any order.

        Yields:
            Name, with `/` between folders, and size in bytes.
        """
        if self._root is not None:
            for folder, _, names in os.walk(self._root, followlinks=True):
                for name in names:
                    path = Path(folder) / name
                    if path.is_file():
                        yield path.relative_to(self._root).as_posix(), path.stat().st_size
            return
        for info in self._infos():
            yield info.path[len(self._prefix) + 1 :], info.size

    def _infos(self) -> list[Any]:
        """Arrow's records of all files in an object store's folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self._prefix, allow_not_found=True, recursive=True)
        infos = self._patiently(lambda: self._fs.get_file_info(selector))
        return [info for info in infos if info.type == fs.FileType.File]

    def modified(self, name: str) -> float | None:
        """Returns when a file was last written, in seconds since 1970; None if it is not there."""
        if self._root is not None:
            path = self._root / name
            return path.stat().st_mtime if path.exists() else None
        nanoseconds = self._patiently(lambda: self._fs.get_file_info(self._key(name))).mtime_ns
        return None if nanoseconds is None else float(nanoseconds) / 1e9

    def write(self, name: str, content: bytes | str) -> None:
        """Writes a whole file; where that fails, the file stays as it was.

        Args:
            name: The file; its folders are made.
            content: Bytes, or text that is encoded as UTF-8.

        Raises:
            OSError: It cannot be written.
        """
        blob = content.encode() if isinstance(content, str) else content
        if self._root is None:

            def upload() -> None:
                with self._fs.open_output_stream(self._key(name)) as stream:
                    stream.write(blob)

            self._patiently(upload)
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

    @contextlib.contextmanager
    def as_folder(self) -> Iterator[Path]:
        """Gives a folder on this machine whose files belong to the storage.

        Yields:
            The folder itself, made if missing. For an object store an empty temporary folder, whose
            files are uploaded at the end.
        """
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
            yield self._root
            return
        with tempfile.TemporaryDirectory(prefix="raysweep-") as scratch:
            yield Path(scratch)
            for name, _ in Storage(scratch).files():
                self.write(name, (Path(scratch) / name).read_bytes())

    def states(self) -> dict[str, tuple[int, int]]:
        """Returns size in bytes and time of writing in ns by file: both change when it does."""
        if self._root is not None:
            stats = {name: (self._root / name).stat() for name, _ in self.files()}
            return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
        return {
            info.path[len(self._prefix) + 1 :]: (info.size, info.mtime_ns) for info in self._infos()
        }

    def remove_all(self) -> None:
        """Removes the folder and all that is in it, if it is there."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            return
        with contextlib.suppress(FileNotFoundError):
            self._patiently(lambda: self._fs.delete_dir(self._prefix))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _patiently(self, action: Callable[[], _T], at_most: float = float("inf")) -> _T:
        """Repeats an action while the store fails; every action here may be done twice."""
        start = time.monotonic()
        patience = min(at_most, float(os.environ.get(PATIENCE, "120")))
        pause = 0.2
        while True:
            try:
                return action()
            except FileNotFoundError:
                raise
            except OSError as error:
                seconds = time.monotonic() - start
                lasting = any(cause in str(error) for cause in _LASTING)
                if lasting or seconds + pause > patience:
                    reason = str(error).strip().splitlines()[0].rstrip(".")
                    raise OSError(
                        f"the storage {self.uri} failed for {seconds:.0f} s: {reason}"
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _connect(self) -> tuple[Any, str]:
        """The file system and the folder in it; raises UserError."""
        from pyarrow import ArrowInvalid, fs

        uri, fix = self.uri, "use a folder or s3://bucket/folder"
        if not re.match(r"[A-Za-z0-9+.-]+://[^/]", uri):
            raise UserError(f"storage {uri!r} is neither a path nor a whole address; {fix}")
        if "@" in uri.partition("://")[2].partition("?")[0].partition("/")[0]:
            raise UserError(
                "credentials do not belong into a storage's address, which is shown and written "
                "into runs; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
            )
        if uri.startswith("s3:"):
            # A small file is one request, not the three of a large one in parts.
            uri += f"{'&' if '?' in uri else '?'}allow_delayed_open=true"
        try:
            # Looks up the bucket's region. A mistake is likelier here than a short failure.
            store, prefix = self._patiently(lambda: fs.FileSystem.from_uri(uri), at_most=10)
        except (ArrowInvalid, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"storage {self.uri!r} cannot be used: {reason[:300]}; {fix}") from None
        return store, prefix.rstrip("/")
