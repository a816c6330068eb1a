"""What on a node of a cluster would make a job fail; every node is asked, by a task of its own.

Different versions of Python or Ray, a storage that one node does not reach, a clock that is wrong:
each of them shows hours later otherwise, as a trial that failed or a result that is not there.
"""

from __future__ import annotations

import contextlib
import json
import platform
import secrets
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from raysweep.cluster.machines.capacity import alive_nodes
from raysweep.cluster.machines.checks import CheckResult
from raysweep.cluster.machines.session import on_node
from raysweep.core.errors import UserError
from raysweep.core.ray_private import AUTHENTICATION_MODE_PATH, dashboard_address
from raysweep.core.storage import Storage

__all__ = ["CLOSE_IT", "NodeReport", "check_cluster", "examine_nodes", "exposure"]

_MIN_DISK_GB, _MIN_SHM_GB, _MAX_SKEW_S, _ANSWER_S = 2.0, 0.1, 2.0, 60.0
_MARKET = "ray.io/market-type"
CLOSE_IT = (
    "anybody who reaches that address may run commands there. Start Ray with RAY_AUTH_MODE=token, "
    "or with --dashboard-host=127.0.0.1"
)
_MUST_AGREE = ("python", "ray", "torch", "raysweep")


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself.

    Attributes:
        versions: of Python and of the packages that must agree; empty for one that is missing.
        gpus: their names.
        shm_gb, disk_gb: free space in shared memory and for temporary files; shm_gb is -1 where
            there is none.
        storage: what is wrong with the storage, seen from there; empty if nothing is.
        clock: seconds since 1970.
    """

    versions: dict[str, str]
    gpus: list[str]
    shm_gb: float
    disk_gb: float
    storage: str
    clock: float


def look(uri: str, mark: str, node: str) -> NodeReport:
    """Runs on the node: reads what the driver wrote to the storage, and writes beside it."""
    return NodeReport(
        versions=_versions(),
        gpus=_gpus(),
        shm_gb=_free_gb("/dev/shm"),
        disk_gb=_free_gb(tempfile.gettempdir()),
        storage=_try_storage(uri, mark, node),
        clock=time.time(),
    )


def _versions() -> dict[str, str]:
    import ray

    versions = {"python": platform.python_version(), "ray": ray.__version__}
    for package in ("torch", "raysweep"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {name: versions.get(name, "") for name in _MUST_AGREE}


def _gpus() -> list[str]:
    import subprocess

    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def _free_gb(path: str) -> float:
    return shutil.disk_usage(path).free / 1e9 if Path(path).exists() else -1.0


def _try_storage(uri: str, mark: str, node: str) -> str:
    try:
        folder = Storage(uri) / mark
        if not folder.exists("driver"):
            return "what the driver wrote there is not there"
        folder.write(node, node)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def examine_nodes(ray: Any, uri: str) -> Iterator[CheckResult]:
    """Asks every node that is alive, all at the same time; one result each.

    Args:
        ray: the module, connected to the cluster.
        uri: the folder or URI of all runs.
    """
    storage, mark = Storage(uri), f".preflight-{secrets.token_hex(4)}"
    nodes = sorted(alive_nodes(ray), key=lambda n: str(n["NodeManagerAddress"]))
    (storage / mark).write("driver", mark)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(look)
        start = time.time()
        reports = [
            task.options(scheduling_strategy=on_node(n["NodeID"])).remote(uri, mark, n["NodeID"])
            for n in nodes
        ]
        # All of them have the same time to answer.
        ray.wait(reports, num_returns=len(reports), timeout=_ANSWER_S)
        for node, report in zip(nodes, reports, strict=True):
            yield _check_node(ray, node, report, storage / mark, start)
    finally:
        with contextlib.suppress(Exception):
            (storage / mark).remove_all()


def _check_node(
    ray: Any, node: dict[str, Any], reference: Any, folder: Storage, start: float
) -> CheckResult:
    name = f"node {node['NodeManagerAddress']}"
    try:
        report: NodeReport = ray.get(reference, timeout=0.1)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no answer"
        return CheckResult(
            name,
            False,
            reason,
            "install raysweep there as here, or take the node out of the cluster",
        )
    problems, warnings = list(_differences(report.versions)), []
    unreached = report.storage
    if not unreached and not folder.exists(node["NodeID"]):
        unreached = "what it wrote there is not there for the driver"
    if unreached:
        problems.append(f"storage {folder.uri.rpartition('/')[0]}: {unreached}")
    if report.disk_gb < _MIN_DISK_GB:
        problems.append("its disk is nearly full")
    if report.shm_gb < _MIN_SHM_GB:
        warnings.append("its /dev/shm is small, Ray will use the disk")
    skew = max(start - report.clock, report.clock - time.time())
    if skew > _MAX_SKEW_S:
        warnings.append(f"its clock is {skew:.0f} s off; have NTP set it")
    detail = _describe(report, node["Resources"])
    if problems or warnings:
        return CheckResult(
            name, False if problems else None, detail, "; ".join(problems + warnings)
        )
    return CheckResult(name, True, detail)


def _differences(versions: dict[str, str]) -> Iterator[str]:
    for package, mine in _versions().items():
        theirs = versions[package]
        # A driver that runs from a checkout has no version of its own to compare with.
        if theirs != mine and (mine or package != "raysweep"):
            yield f"{package} {theirs or 'missing'} there, {mine or 'missing'} at the driver"


def _describe(report: NodeReport, resources: dict[str, float]) -> str:
    versions = " ".join(f"{k} {v}" for k, v in report.versions.items() if k != "raysweep")
    gpus = ", ".join(report.gpus) or "no GPU"
    space = f"{report.shm_gb:.1f} GB shm, {report.disk_gb:.0f} GB disk"
    return f"{versions}; {resources.get('CPU', 0):g} CPU, {gpus}; {space}"


def check_cluster(ray: Any, uri: str) -> list[str]:
    """Before a job: refuses a cluster on which it would fail.

    Returns:
        what may go wrong, a line for each node.

    Raises:
        UserError: at least one node has another version, or does not reach the storage; the message
            names every such node with what is wrong. Or anybody may run jobs there.
    """
    open_to_all = exposure(ray)
    if open_to_all:
        raise UserError(f"{open_to_all}; {CLOSE_IT}")
    nodes = alive_nodes(ray)
    if len(nodes) < 2:
        return []
    results = list(examine_nodes(ray, uri))
    bad = [f"  {result.name}: {result.fix}" for result in results if result.ok is False]
    if bad:
        raise UserError(
            "the cluster would lose results:\n"
            + "\n".join(bad)
            + "\nAll nodes need the same versions, and a --storage that each of them reaches: "
            "s3://…, or a folder on a network file system"
        )
    warnings = [f"{result.name}: {result.fix}" for result in results if result.ok is None]
    return [*warnings, *_driver_warning(ray, nodes)]


def _driver_warning(ray: Any, nodes: list[dict[str, Any]]) -> Iterator[str]:
    here = ray.get_runtime_context().get_node_id()
    labels = next((n.get("Labels") or {} for n in nodes if n["NodeID"] == here), {})
    if labels.get(_MARKET) == "spot":
        yield (
            "the driver runs on a spot node, and with it the search may end; start it on the head, "
            "or resume it with the same command"
        )


def exposure(ray: Any) -> str:
    """What is wrong when anybody on the network may run jobs here; empty if nobody may.

    The dashboard, which is also the job server, answers on an address of the network and asks for
    no token.
    """
    address = dashboard_address(ray)
    host, _, port = address.rpartition(":")
    if not host or host == "localhost" or host.startswith("127.") or host in ("::1", "[::1]"):
        return ""
    try:
        with urllib.request.urlopen(
            f"http://{host}:{port}{AUTHENTICATION_MODE_PATH}", timeout=10
        ) as answer:
            mode = json.load(answer).get("authentication_mode")
    except (OSError, ValueError):
        return ""
    if mode != "disabled":
        return ""
    return f"the cluster's dashboard and job server listen at {address} and ask nobody for a token"
