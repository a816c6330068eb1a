"""Whether and how often trials fit, on nodes that are there and on those that may come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.machines import capacity
from raysweep.core.errors import UserError


class _Ray:
    """A cluster's nodes; what else Ray is, capacity does not ask."""

    def __init__(self, *resources: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "Resources": r} for r in resources]
        self._nodes.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes


@pytest.fixture
def autoscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(
        "{head_node_type: head, max_workers: 3, available_node_types: {"
        "head: {resources: {CPU: 0}, max_workers: 0}, "
        "gpu: {resources: {CPU: 8, GPU: 1}, max_workers: 8}}}"
    )
    monkeypatch.setattr(capacity, "LAUNCHER_CONFIG", path)


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0, 12), (3, 0, 3), (1, 1, 3), (1, 0.5, 6), (1, 0.4, 6), (1, 2, 1), (0.1, 0, 120)],
)
def test_trials_are_not_put_together_from_two_nodes_or_gpus(
    cpus: float, gpus: float, expected: int
) -> None:
    nodes = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 2.0}]
    assert capacity.num_slots(nodes, cpus, gpus) == expected


def test_a_trial_that_is_too_large_is_refused_with_what_there_is() -> None:
    with pytest.raises(UserError, match=r"2 CPU and 0 GPU.*nodes: 1 CPU, 0 GPU; 1 CPU, 0 GPU"):
        capacity.require_resources(_Ray({"CPU": 1.0}, {"CPU": 1.0}), 2, 0)


@pytest.mark.usefixtures("autoscaled")
def test_nodes_that_the_autoscaler_may_add_count() -> None:
    head_alone = _Ray({"CPU": 0.0})
    capacity.require_resources(head_alone, 4, 1)
    assert capacity.num_trial_slots(head_alone, 4, 1) == 3, "not more than max_workers"
    with pytest.raises(UserError, match=r"may add: 8 CPU, 1 GPU"):
        capacity.require_resources(head_alone, 4, 2)


def test_kubernetes_may_add_what_a_driver_cannot_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERAY_GEN_RAY_START_CMD", "ray start …")
    capacity.require_resources(_Ray({"CPU": 0.0}), 4, 1)
    assert capacity.num_trial_slots(_Ray({"CPU": 0.0}), 4, 1) > 1
