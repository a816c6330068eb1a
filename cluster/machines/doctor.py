"""What on this machine would make a job fail: each check with its result and its fix."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from raysweep.cluster.machines.checks import CheckResult
from raysweep.core.errors import UserError
from raysweep.core.ray_private import uploaded_files
from raysweep.core.storage import Storage

__all__ = ["CheckResult", "examine", "upload_bytes"]

_MIN_DISK_GB, _MIN_SHM_GB, _MIN_MEMORY_GB = 2.0, 0.5, 2.0
_MAX_UPLOAD_MB = 50.0


def examine(root: str, address: str | None = None) -> Iterator[CheckResult]:
    """Checks one thing after another, and yields each result at once.

    Args:
        root: the folder or URI of all runs.
        address: a cluster, every node of which is looked at, too; None for this machine alone.
    """
    yield _python()
    yield from _packages()
    yield _memory()
    yield _shared_memory()
    yield _disk(root)
    yield _guard("storage", lambda: _storage(root))
    yield _gpu()
    yield _guard("upload", _upload)
    if address:
        yield from _cluster(root, address)
    else:
        yield _guard("Ray", _ray)
    yield _data()


def _guard(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except Exception as error:
        return CheckResult(name, False, f"{type(error).__name__}: {error}")


def _python() -> CheckResult:
    ok = (3, 10) <= sys.version_info[:2] < (3, 14)
    fix = "" if ok else "use Python 3.10 to 3.13"
    return CheckResult("Python", ok, sys.version.split()[0], fix)


def _packages() -> Iterator[CheckResult]:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(r) for r in requires("raysweep") or []]
    except PackageNotFoundError:
        yield CheckResult("packages", False, "raysweep is not installed", "run `make install`")
        return
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield CheckResult(requirement.name, False, "missing", f"pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield CheckResult(requirement.name, False, installed, f"pip install '{requirement}'")
    yield CheckResult("packages", True, f"ray {version('ray')}, torch {version('torch')}")


def _memory() -> CheckResult:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / 1e9
    ok = True if free > _MIN_MEMORY_GB else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{free:.1f} of {memory.total / 1e9:.1f} GB free, {cores} cores"
    return CheckResult(
        "memory", ok, detail, "" if ok else "close something, or use --max-concurrent 1"
    )


def _shared_memory() -> CheckResult:
    path = Path("/dev/shm")
    if not path.exists():
        return CheckResult("/dev/shm", None, "not there", "Ray will use the disk, which is slower")
    free = shutil.disk_usage(path).free / 1e9
    ok = True if free > _MIN_SHM_GB else None
    fix = "" if ok else "in a container, start it with --shm-size=2g"
    return CheckResult("/dev/shm", ok, f"{free:.1f} GB free", fix)


def _disk(root: str) -> CheckResult:
    storage = Storage(root)
    folders = {Path(tempfile.gettempdir())}
    if storage.local is not None:
        folders.add(next(p for p in (storage.local, *storage.local.parents) if p.exists()))
    free = {str(p): shutil.disk_usage(p).free / 1e9 for p in sorted(folders)}
    ok = min(free.values()) > _MIN_DISK_GB
    detail = ", ".join(f"{gb:.0f} GB free on {p}" for p, gb in free.items())
    return CheckResult(
        "disk", ok, detail, "" if ok else "free some space, or move --storage, TMPDIR"
    )


def _storage(root: str) -> CheckResult:
    storage, name = Storage(root), f".doctor-{os.getpid()}"
    storage.write(name, b"raysweep")
    content = storage.read(name)
    if storage.local is not None:
        (storage.local / name).unlink()
        with contextlib.suppress(OSError):
            storage.local.rmdir()  # Succeeds only where the check made the folder.
    return CheckResult("storage", content == b"raysweep", f"{storage.uri} is writable and readable")


def _gpu() -> CheckResult:
    import torch

    if not torch.cuda.is_available():
        return CheckResult("GPU", True, "none; trials run on the CPU")
    names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return CheckResult(
        "GPU", True, f"{torch.cuda.device_count()} x {', '.join(names)}; use --gpus 1"
    )


def _ray() -> CheckResult:
    from raysweep.cluster.machines.session import ray_session

    start = time.perf_counter()
    with ray_session() as ray:
        answer: Any = ray.get(ray.remote(lambda: os.getpid()).remote(), timeout=60)
        resources = ray.cluster_resources()
    seconds = time.perf_counter() - start
    ok = answer != os.getpid()
    detail = f"a task ran in a session of {resources.get('CPU', 0):g} CPUs ({seconds:.1f} s)"
    return CheckResult("Ray", ok, detail)


def _cluster(root: str, address: str) -> Iterator[CheckResult]:
    from raysweep.cluster.machines.capacity import alive_nodes, planned_nodes
    from raysweep.cluster.machines.preflight import CLOSE_IT, examine_nodes, exposure
    from raysweep.cluster.machines.session import ray_session

    try:
        with ray_session(address) as ray:
            have, planned = alive_nodes(ray), planned_nodes()
            cpus, gpus = (sum(n["Resources"].get(r, 0) for n in have) for r in ("CPU", "GPU"))
            more = f", and up to {len(planned)} nodes when work asks for them" if planned else ""
            yield CheckResult(
                "cluster", True, f"{len(have)} nodes, {cpus:g} CPUs, {gpus:g} GPUs{more}"
            )
            problem = exposure(ray)
            detail = problem or "nobody without the token, or from outside, may run jobs"
            yield CheckResult("access", not problem, detail, CLOSE_IT if problem else "")
            yield from examine_nodes(ray, root)
    except UserError as error:
        yield CheckResult("cluster", False, str(error))


def upload_bytes(folder: Path) -> int:
    """Bytes that `ray up` and `ray job submit` send: what .gitignore and .rayignore leave."""
    return sum(path.stat().st_size for path in uploaded_files(folder))


def _upload() -> CheckResult:
    size = upload_bytes(Path.cwd()) / 1e6
    ok = True if size < _MAX_UPLOAD_MB else None
    fix = "" if ok else "name what no node needs in .rayignore"
    return CheckResult("upload", ok, f"{size:.1f} MB of this folder go to a cluster", fix)


def _data() -> CheckResult:
    from raysweep.data.sources.fetch import CATALOGUE, locate

    try:
        here = [name for name in CATALOGUE if locate(name)]
    except UserError as error:
        return CheckResult("data", False, str(error))
    detail = f"at hand: {', '.join(here) or 'none'}"
    return CheckResult(
        "data", True if here else None, detail, "" if here else "raysweep data fetch …"
    )
