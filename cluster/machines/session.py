"""Ray itself: a quiet local session, or a connection to a cluster; and nothing left behind."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import psutil

from raysweep.core import ray_private
from raysweep.core.errors import UserError
from raysweep.core.storage import PATIENCE

__all__ = [
    "RETRIES",
    "beside_driver",
    "cluster_address",
    "on_node",
    "ray_session",
    "ray_started_beside",
]

T = TypeVar("T")

# How often a process that died is started anew where nothing else is to blame.
RETRIES = 3
_HEAD_START_S = 0.1
# Variables that workers on other nodes get from this process: where an object store is, and how
# long to wait for it. Never credentials: nodes have their own, by their role.
_FORWARDED = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    PATIENCE,
)


# What a laptop does instead of connecting: the driver has to be where the trials can reach it.
_SUBMIT = (
    "Run the command on a machine of the cluster, or have it run there: `ray job submit --address "
    "http://HEAD:8265 --working-dir . -- raysweep …`, or `python cluster/submit.py "
    "ray_config.yaml …` for a cluster of `ray up`; docs/cluster.md shows both"
)


def cluster_address(address: str | None = None) -> str | None:
    """Where the cluster is; None for Ray on this machine alone.

    Args:
        address: as given; else `$RAY_ADDRESS`, which names the cluster where `ray submit` and `ray
            job submit` run the driver.

    Raises:
        UserError: it is that of Ray's client or of a job server, which take no driver.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    scheme, found, _ = (address or "").partition("://")
    if found:
        other = "Ray's client" if scheme == "ray" else "a job server"
        raise UserError(
            f"{address} is an address for {other}; a search needs that of the cluster, such as "
            f"auto or HEAD:6379, and a machine that is part of it. {_SUBMIT}"
        )
    return address


@contextmanager
def ray_session(
    address: str | None = None, *, num_cpus: int | None = None, num_gpus: int | None = None
) -> Iterator[Any]:
    """Connects to Ray, and on leaving disconnects and stops what was started here.

    Args:
        address: a cluster's address, "auto" for the one this machine is part of, or None for a
            session of this process alone (which also joins a session that the process has open).
        num_cpus: cores of a local session; all by default.
        num_gpus: GPUs of a local session; all by default.

    Yields:
        the `ray` module.

    Raises:
        UserError: the cluster cannot be reached, or this machine is not part of it.
    """
    address = cluster_address(address)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    stderr_text = ""
    try:
        with _standard_error() as read:
            try:
                if address and not ray_private.is_member(address):
                    raise UserError(
                        f"this machine is not part of the cluster at {address}. {_SUBMIT}"
                    )
                with nullcontext() if address else ray_private.loopback_only():
                    ray.init(**_init_arguments(address, num_cpus, num_gpus))
            finally:
                stderr_text = read()
    except UserError:
        raise
    except Exception as error:  # Ray raises the plain class when a busy machine starts it too late
        ray.shutdown()
        raise UserError(_why_not(address, error, stderr_text)) from None
    try:
        yield ray
    finally:
        workers = _processes(ray_private.worker_processes)
        # When it is asked to end, it takes a second.
        _kill(_processes(ray_private.autoscaler_processes))
        ray.shutdown()
        # They end by themselves, too, but on a busy machine some time later.
        _kill(workers)


@contextmanager
def ray_started_beside(
    work: Callable[[], T], address: str | None = None, *, wanted: bool = True
) -> Iterator[T]:
    """Does what does not need Ray while Ray starts on this machine, which takes seconds.

    Args:
        work: imports modules, reads data.
        address: as of `ray_session`; a cluster is not started here, so nothing is done beside it.
        wanted: whether Ray is certain to be needed. If not, only the work is done.

    Yields:
        what `work` returns. Until the end of the body `ray_session` joins the session.

    Raises:
        UserError: Ray cannot be started, or not there; and whatever `work` raises.
    """
    if not wanted or cluster_address(address):
        yield work()
        return
    import ray  # noqa: F401  (before both threads could do so at once)

    result: Future[T] = Future()

    def do() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    # At its end, Python would wait for a thread that is no daemon, also after Ctrl-C.
    threading.Thread(target=do, daemon=True).start()
    # A missing file or a wrong name shows at once, and no reason to start anything.
    wait([result], timeout=_HEAD_START_S)
    if result.done():
        result.result()
    # In this thread: the kernel ends Ray's processes with the thread that started them.
    with ray_session():
        yield result.result()


def _processes(find: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """What `find` returns; nothing when processes end while it looks at them."""
    with suppress(psutil.Error):
        return find()
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


@contextmanager
def _standard_error() -> Iterator[Callable[[], str]]:
    """Holds back what Ray's own code writes there while it connects: a warning every second.

    What Python writes, such as a progress bar of another thread, is still shown.

    Yields:
        a function that reads what was written.
    """
    sys.stderr.flush()
    own, python = os.dup(2), sys.stderr
    with suppress(AttributeError, OSError):  # not a file, as in a notebook
        if python.fileno() == 2:
            # Not closed: a logging handler that was made meanwhile may keep it.
            sys.stderr = os.fdopen(os.dup(own), "w", buffering=1)
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            sys.stderr = python
            os.dup2(own, 2)
            os.close(own)


def _why_not(address: str | None, error: Exception, stderr_text: str) -> str:
    """Why Ray could not be started or reached, for the user."""
    where = f"at {address}" if address else "on this machine"
    if ray_private.WRONG_TOKEN in stderr_text:
        return (
            f"the cluster {where} refuses this token; RAY_AUTH_TOKEN, or ~/.ray/auth_token, must "
            "be that of the cluster"
        )
    lines = (str(error).strip() or type(error).__name__).splitlines()
    # Of a mismatch every line counts: it names both versions and the node.
    reason = " ".join(" ".join(lines).split()) if lines[0].startswith("Version") else lines[0]
    return f"Ray could not be started or reached {where}: {reason}; `raysweep doctor` looks for why"


def _init_arguments(
    address: str | None, num_cpus: int | None, num_gpus: int | None
) -> dict[str, Any]:
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        forwarded = {name: os.environ[name] for name in _FORWARDED if name in os.environ}
        more = {"runtime_env": {"env_vars": forwarded}} if forwarded else {}
        return {**arguments, **more, "address": address}
    return {
        **arguments,
        "address": "local",
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "include_dashboard": False,
    }


def on_node(node_id: str) -> Any:
    """The scheduling strategy that keeps a task or an actor on one node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def beside_driver(ray: Any) -> Any:
    """The scheduling strategy that keeps an actor on the node of this process."""
    return on_node(ray.get_runtime_context().get_node_id())
