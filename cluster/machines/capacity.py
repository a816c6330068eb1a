"""What a cluster has, and what its autoscaler may add: whether and how often a trial fits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from raysweep.core.errors import UserError
from raysweep.core.ray_private import LAUNCHER_CONFIG

__all__ = [
    "alive_nodes",
    "num_slots",
    "num_trial_slots",
    "planned_nodes",
    "require_bundles",
    "require_resources",
    "require_workers",
]

# KubeRay's operator sets it in every pod; what its autoscaler may add is not known to a driver.
_KUBERAY = "KUBERAY_GEN_RAY_START_CMD"
_SLOTS_IF_UNKNOWN = 16

Resources = Mapping[str, float]


def alive_nodes(ray: Any) -> list[dict[str, Any]]:
    """Ray's records of the nodes that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def planned_nodes() -> list[Resources]:
    """Resources of each node that the launcher's autoscaler may have, without the head."""
    try:
        config = yaml.safe_load(LAUNCHER_CONFIG.expanduser().read_text())
    except (OSError, yaml.YAMLError):
        return []
    types = dict(config.get("available_node_types") or {})
    types.pop(config.get("head_node_type"), None)
    limit = int(config.get("max_workers", 0))
    nodes: list[Resources] = [
        dict(kind.get("resources") or {})
        for kind in types.values()
        for _ in range(int(kind.get("max_workers", limit)))
    ]
    return nodes[:limit]


def num_slots(nodes: Iterable[Resources], cpus: float, gpus: float) -> int:
    """How many trials of that size run on such nodes at a time."""
    return sum(_fits(node, cpus, gpus) for node in nodes)


def _fits(node: Resources, cpus: float, gpus: float) -> int:
    slots = node.get("CPU", 0.0) / cpus
    if gpus:
        slots = min(slots, _on_gpus(node.get("GPU", 0.0), gpus))
    return int(slots + 1e-9)


def _on_gpus(have: float, each: float) -> float:
    """A share of a GPU cannot be put together from two."""
    return have * int(1 / each + 1e-9) if each < 1 else have / each


def num_trial_slots(ray: Any, cpus: float, gpus: float) -> int:
    """How many trials run at a time when the cluster is as large as it gets; at least 1."""
    now = num_slots((n["Resources"] for n in alive_nodes(ray)), cpus, gpus)
    later = num_slots(planned_nodes(), cpus, gpus)
    unknown = _SLOTS_IF_UNKNOWN if _KUBERAY in os.environ else 1
    return max(now, later, unknown)


def require_resources(ray: Any, cpus: float, gpus: float) -> None:
    """Refuses a trial that no node can ever run; raises UserError with what there is."""
    alive = [n["Resources"] for n in alive_nodes(ray)]
    planned = planned_nodes()
    if num_slots([*alive, *planned], cpus, gpus) or _KUBERAY in os.environ:
        return
    have = "; ".join(f"{n.get('CPU', 0):g} CPU, {n.get('GPU', 0):g} GPU" for n in alive)
    if planned:
        kinds = {f"{n.get('CPU', 0):g} CPU, {n.get('GPU', 0):g} GPU" for n in planned}
        have += f"; and may add: {'; '.join(sorted(kinds))}"
    raise UserError(
        f"a trial asks for {cpus:g} CPU and {gpus:g} GPU, but no node has that much (nodes: {have})"
        "; lower --cpus or --gpus"
    )


def require_bundles(ray: Any, bundles: Sequence[Resources]) -> None:
    """Refuses what code of the user's asks for and no cluster like this ever has.

    Args:
        ray: the module, connected to a cluster.
        bundles: what each process of a trial needs, by the resource's name.

    Raises:
        UserError: a bundle fits on no node, or all together are more than there is.
    """
    if _KUBERAY in os.environ:
        return
    nodes = [*(node["Resources"] for node in alive_nodes(ray)), *planned_nodes()]
    every = [{name: sum(b.get(name, 0.0) for b in bundles) for b in bundles for name in b}]
    total = [{name: sum(n.get(name, 0.0) for n in nodes) for n in nodes for name in n}]
    for asked, places in [*((bundle, nodes) for bundle in bundles), (every[0], total)]:
        if not any(all(n.get(name, 0.0) >= need for name, need in asked.items()) for n in places):
            need = ", ".join(f"{amount:g} {name}" for name, amount in asked.items())
            raise UserError(
                f"your code asks for {need} a trial (by `tune.with_resources` or "
                "`default_resource_request`), and no node has that much"
            )


def require_workers(ray: Any, num_workers: int, cpus: float, gpus: float) -> None:
    """Refuses workers that will never run at the same time, for which Ray would wait for ever.

    Raises:
        UserError: there are not as many places.
    """
    slots = num_trial_slots(ray, cpus, gpus)
    if num_workers > slots:
        raise UserError(
            f"--workers {num_workers} with {cpus:g} CPU and {gpus:g} GPU each do not fit: there "
            f"are places for {slots}; use fewer workers, or a larger cluster"
        )
