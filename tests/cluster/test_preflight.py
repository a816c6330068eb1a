"""What would make a job fail is said before it starts, with the node's name."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import ray

from .running import SMALL, Cluster

pytestmark = pytest.mark.timeout(200)

_TUNE = "raysweep tune matrix_factorization l2 --num-samples 2 --epochs 1 --address auto --json"


def _tune(ratings: Path, storage: str) -> str:
    name = str(ratings).replace("'", "'\\''")
    return f"{_TUNE} --dataset '{name}' --storage {storage}"


def test_a_healthy_cluster(cluster: Cluster) -> None:
    done = cluster.hosts.head.run(
        f"raysweep doctor --address auto --storage {cluster.hosts.shared}"
    )
    for host in cluster.hosts:
        line = next(li for li in done.stdout.splitlines() if f"node {host.ip} " in li)
        assert line.startswith("ok"), done.stdout
        assert f"ray {ray.__version__}" in line
    assert "3 nodes, 2 CPUs, 0 GPUs" in done.stdout


def test_storage_that_workers_do_not_reach_is_refused(cluster: Cluster, ratings: Path) -> None:
    """/tmp/ray is each host's own."""
    done = cluster.hosts.head.run(_tune(ratings, "/tmp/ray/runs"), check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for worker in cluster.hosts.workers:
        expected = f"node {worker.ip}: storage /tmp/ray/runs/"
        assert expected in done.stderr
    assert f"node {cluster.hosts.head.ip}" not in done.stderr


def test_a_trial_that_fits_nowhere_is_refused_with_what_there_is(
    cluster: Cluster, ratings: Path
) -> None:
    command = _tune(ratings, str(cluster.hosts.shared / "large"))
    done = cluster.hosts.head.run(f"{command} --cpus 2", check=False)
    assert done.returncode == 2
    assert "asks for 2 CPU" in done.stderr
    assert done.stderr.count("1 CPU, 0 GPU") == 2


def test_a_wrong_token_is_refused(cluster: Cluster, ratings: Path) -> None:
    """By the cluster and by its job server; with the right one the job runs."""
    command = _tune(ratings, str(cluster.hosts.shared / "token"))
    wrong = f"RAY_NUM_REDIS_GET_RETRIES=3 RAY_AUTH_TOKEN={'f' * 64}"
    done = cluster.hosts.head.run(f"{wrong} {command}", check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("raysweep: the cluster at auto refuses this token")
    assert len(done.stderr.splitlines()) == 1
    submit = "ray job submit --address http://127.0.0.1:8265 --"
    refused = cluster.hosts.head.run(f"RAY_AUTH_TOKEN={'f' * 64} {submit} true", check=False)
    assert refused.returncode != 0
    assert "Invalid authentication token" in refused.stderr
    # The driver passes this variable on, too.
    variables = '{"env_vars": {"AWS_DEFAULT_REGION": "us-east-1"}}'
    options = f"--address http://127.0.0.1:8265 --runtime-env-json '{variables}'"
    cluster.hosts.head.run(f"ray job submit {options} -- {command}")
    assert (cluster.hosts.shared / "token").is_dir()
    assert len(list(cluster.hosts.shared.glob("token/*/trials.parquet"))) == 1


def test_a_node_with_another_ray_is_named(cluster: Cluster, ratings: Path, tmp_path: Path) -> None:
    worker = cluster.hosts.workers[1]
    module = Path(ray.__file__).parent / "_version.py"
    other = tmp_path / "_version.py"
    other.write_text(module.read_text().replace(ray.__version__, "2.59.0"))
    cluster.kill(worker)
    worker.run(f"mount --bind {other} {module}")
    refused = worker.run(f"ray start --address={cluster.hosts.head.ip}:6379", check=False)
    assert refused.returncode != 0
    assert f"This process on node {worker.ip} was started with:" in refused.stderr
    assert "Ray: 2.59.0" in refused.stderr
    cluster.kill(worker)


def test_a_node_with_another_torch_is_named(
    cluster: Cluster, ratings: Path, tmp_path: Path
) -> None:
    worker = cluster.hosts.workers[1]
    metadata = next(Path(ray.__file__).parents[1].glob("torch-*.dist-info/METADATA"))
    other = tmp_path / "METADATA"
    other.write_text(metadata.read_text().replace(f"Version: {version('torch')}", "Version: 2.7.0"))
    cluster.kill(worker)
    worker.run(f"mount --bind {other} {metadata}")
    cluster.start()
    done = cluster.hosts.head.run(_tune(ratings, str(cluster.hosts.shared / "torch")), check=False)
    cluster.kill(worker)
    assert done.returncode == 2
    assert f"node {worker.ip}: torch 2.7.0 there, {version('torch')} at the driver" in done.stderr
    assert cluster.hosts.workers[0].ip not in done.stderr


def test_a_job_server_that_is_open_to_all_is_refused(cluster: Cluster, ratings: Path) -> None:
    """A cluster of its own, of one host, without tokens and at an address of the network."""
    worker = cluster.hosts.workers[0]
    cluster.kill(worker)
    start = f"ray start --head --port=6379 --num-cpus=1 --dashboard-host={worker.ip} {SMALL}"
    worker.run(f"export RAY_AUTH_MODE=disabled; {start}")
    command = _tune(ratings, str(cluster.hosts.shared / "open"))
    done = worker.run(f"export RAY_AUTH_MODE=disabled; {command}", check=False)
    cluster.kill(worker)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"job server listen at {worker.ip}:8265 and ask nobody for a token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(cluster.hosts.shared.glob("open/*/ledger.jsonl"))
