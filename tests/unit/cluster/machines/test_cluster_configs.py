"""Every cluster configuration that is shipped passes the checks of what will read it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)

ROOT = Path(__file__).resolve().parents[4]
LAUNCHER = sorted([ROOT / "ray_config.yaml", *ROOT.glob("cluster/*/ray_config.yaml")])
KUBERAY = sorted(ROOT.glob("cluster/kuberay/*.yaml"))


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def test_all_of_them_are_here() -> None:
    """Otherwise the tests below could look at nothing."""
    manifests = {str(p.relative_to(ROOT)) for p in (*LAUNCHER, *KUBERAY)}
    shipped = {"ray_config.yaml", "cluster/gcp/ray_config.yaml", "cluster/onprem/ray_config.yaml"}
    assert manifests == shipped | {
        "cluster/kuberay/raycluster.yaml",
        "cluster/kuberay/rayjob.yaml",
    }
    others = {*ROOT.glob("cluster/**/*.yaml"), *ROOT.glob("*.yaml")}
    hidden = {p for p in others if p.name.startswith(".")}
    assert {str(p.relative_to(ROOT)) for p in others - hidden} == manifests


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda p: p.parent.name)
def test_rays_own_validation(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(load(path))
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert prepared["head_node_type"] in types
    assert prepared["max_workers"] > 0


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda p: p.parent.name)
def test_every_start_asks_for_the_token_and_binds_to_this_machine(path: Path) -> None:
    config = load(path)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [
        command
        for kind in ("head", "worker")
        for command in config[f"{kind}_start_ray_commands"]
        if "ray start" in command
    ]
    assert len(starts) == 2
    for command in starts:
        assert "RAY_AUTH_MODE=token" in command
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "--num-cpus=0" in starts[0], "no trial beside the driver"


@pytest.mark.parametrize("path", [p for p in LAUNCHER if p.parent.name != "onprem"])
def test_the_head_is_not_spot_and_the_workers_are(path: Path) -> None:
    types = load(path)["available_node_types"]
    spot = {n for n, t in types.items() if "spot" in yaml.safe_dump(t["node_config"]).lower()}
    assert spot == {n for n, t in types.items() if t["labels"]["ray.io/market-type"] == "spot"}
    assert spot == {"gpu_worker"}
    assert types["head"]["resources"]["CPU"] == 0


@pytest.mark.parametrize("path", KUBERAY, ids=lambda p: p.stem)
def test_kuberay_manifests(path: Path) -> None:
    manifest = load(path)
    assert manifest["apiVersion"] == "ray.io/v1"
    definitions = load(Path(__file__).parent / "kuberay_schema.yaml")["$defs"]
    schema = {"$defs": definitions, "$ref": f"#/$defs/{manifest['kind']}"}
    jsonschema.validate(manifest["spec"], schema)
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["rayVersion"] == version("ray")


def test_the_job_has_the_cluster_and_retries() -> None:
    job, alone = (load(ROOT / f"cluster/kuberay/{n}.yaml") for n in ("rayjob", "raycluster"))
    assert job["spec"]["rayClusterSpec"] == alone["spec"]
    assert job["spec"]["backoffLimit"] > 0


def test_the_image_has_the_lock_files_versions() -> None:
    dockerfile = (ROOT / "cluster/Dockerfile").read_text()
    assert "-c raysweep/constraints.txt" in dockerfile
    locked = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert {locked["ray"], load(KUBERAY[0])["spec"]["rayVersion"]} == {"2.60.0"}


def test_an_upload_is_small() -> None:
    from raysweep.cluster.machines.doctor import upload_bytes

    assert 100_000 < upload_bytes(ROOT) < 5_000_000
