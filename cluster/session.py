"""Ray itself: a quiet local session, or a connection to a cluster; and nothing left behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from data.errors import UserError

__all__ = ["ray_session", "require_resources"]


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
        UserError: the cluster cannot be reached.
    """
    # `ray submit` and `ray job submit` run the driver where this variable names the cluster.
    address = address or os.environ.get("RAY_ADDRESS")
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(**_init_arguments(address, num_cpus, num_gpus))
    except Exception as error:  # Ray raises the plain class when a busy machine starts it too late
        ray.shutdown()
        where = f"at {address}" if address else "on this machine"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"Ray could not be started or reached {where}: {reason}; "
            "`raysweep doctor` looks for why"
        ) from None
    try:
        yield ray
    finally:
        workers = _workers()
        ray.shutdown()
        for worker in workers:  # they end by themselves, too, but on a busy machine some time later
            with suppress(psutil.Error):
                worker.kill()


def _workers() -> list[psutil.Process]:
    """Processes of a session that was started here: what its raylet has started."""
    with suppress(psutil.Error):
        raylets = [p for p in psutil.Process().children() if p.name() == "raylet"]
        return [worker for raylet in raylets for worker in raylet.children(recursive=True)]
    return []


def _init_arguments(
    address: str | None, num_cpus: int | None, num_gpus: int | None
) -> dict[str, Any]:
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        return {**arguments, "address": address}
    return {
        **arguments,
        "address": "local",
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }


def require_resources(ray: Any, cpus: float, gpus: float) -> None:
    """Refuses a trial that no node can ever run; raises UserError with what there is."""
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in nodes):
        return
    have = "; ".join(f"{n.get('CPU', 0):g} CPU, {n.get('GPU', 0):g} GPU" for n in nodes)
    raise UserError(
        f"a trial asks for {cpus:g} CPU and {gpus:g} GPU, but no node has that much (nodes: {have})"
        "; lower --cpus or --gpus"
    )
