"""`raysweep features` under real Ray: command, workers and nodes die, every image is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from ray.cluster_utils import Cluster

import raysweep.cluster as settings  # noqa: F401  (what Ray reads when it is imported)
from raysweep.data.features.shards import read_split
from tests.helpers import start_raysweep, write_noise_images

pytestmark = [pytest.mark.usefixtures("nothing_is_left_behind"), pytest.mark.timeout(600)]

_NUM_IMAGES = {"train": 150, "valid": 10}
_SIZE = 96
_COMMAND = ["--backbone", "timm/test_efficientnet", "--weights", "random", "--size", str(_SIZE)]
_COMMAND += ["--shard-rows", "2", "--json"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise, all different, and three files that are none."""
    folder = write_noise_images(tmp_path_factory.mktemp("images"), _NUM_IMAGES)
    (folder / "train/a/empty.jpg").write_bytes(b"")
    (folder / "train/a/text.jpg").write_text("no image")
    whole = (folder / "train/a/000.jpg").read_bytes()
    (folder / "train/b/cut.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def start(images: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    return start_raysweep("features", str(images), str(out), *_COMMAND, *more)


def finish(process: subprocess.Popen[bytes]) -> dict[str, object]:
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(output))


def shards(out: Path) -> set[str]:
    return {path.name for path in out.glob("*.parquet")}


def wait_for_shards(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(9000):  # starting Ray takes a minute on a busy machine
        if len(shards(out)) >= count:
            return
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode() or "it ended before the fault")
        time.sleep(0.02)
    raise AssertionError("the job did not get going")


def written(out: Path) -> dict[str, int]:
    return {name: (out / name).stat().st_mtime_ns for name in shards(out)}


def _kill_a_backbone(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [c for c in children if "MapWorker" in " ".join(c.cmdline()[:1])]
    assert workers, "no backbone is at work"
    workers[0].kill()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A head, which only the command uses, and two nodes with a core each."""
    # A node that does not answer is dead after three seconds, not fifteen.
    health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": health})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def _kill_the_command_twice(images: Path, out: Path) -> None:
    before: dict[str, int] = {}
    for count in (4, 12):
        process = start(images, out)
        wait_for_shards(out, count, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert before.items() <= written(out).items(), "what was finished is not made again"
        before = written(out)


def _kill_a_worker_then_press_ctrl_c(images: Path, out: Path) -> None:
    before = written(out)
    process = start(images, out)
    wait_for_shards(out, len(before) + 2, process)
    _kill_a_backbone(process)
    wait_for_shards(out, len(shards(out)) + 4, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    assert b"the same command goes on" in errors
    assert b"Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "Ctrl-C leaves no process behind"
    assert before.items() <= written(out).items()


def _kill_nodes_twice(images: Path, out: Path, nodes: Cluster) -> dict[str, object]:
    """First one of two; then the one that is left, and a new machine takes its place."""
    before = written(out)
    process = start(images, out, "--address", nodes.address)
    for number, node in enumerate(list(nodes.worker_nodes)):
        wait_for_shards(out, len(before) + 4, process)
        nodes.remove_node(node, allow_graceful=False)
        assert before.items() <= written(out).items()
        before = written(out)
        if number:
            nodes.add_node(num_cpus=1)
    assert len(before) < sum(_NUM_IMAGES.values()) // 2, "there is work left for the new machine"
    answer = finish(process)
    assert before.items() <= written(out).items()
    return answer


@pytest.fixture(scope="module")
def features(images: Path, nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of a job to which all of that happened, one after another."""
    out = tmp_path_factory.mktemp("features") / "out"
    _kill_the_command_twice(images, out)
    _kill_a_worker_then_press_ctrl_c(images, out)
    answer = _kill_nodes_twice(images, out, nodes)
    assert answer["rows"] == _NUM_IMAGES
    assert answer["quarantined"] == 3
    assert 0 < int(str(answer["images_done_now"])) < sum(_NUM_IMAGES.values())
    return out


def test_every_image_is_there_once(features: Path) -> None:
    for split, count in _NUM_IMAGES.items():
        expected = [f"{split}/{'ab'[n % 2]}/{n:03}.jpg" for n in range(count)]
        assert sorted(read_split(str(features), split).ids) == sorted(expected)


def test_files_that_are_no_images_are_listed_with_the_reason(features: Path) -> None:
    lines = (features / "quarantine.jsonl").read_text().splitlines()
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}
    assert set(reasons) == {"train/a/empty.jpg", "train/a/text.jpg", "train/b/cut.jpg"}
    assert reasons["train/a/empty.jpg"] == "empty file"
    assert "no image" in reasons["train/a/text.jpg"]
    assert "truncated" in reasons["train/b/cut.jpg"].lower()


def test_the_features_are_the_networks_own(features: Path, images: Path) -> None:
    import torch

    from raysweep.data.features.backbones import load_backbone, normalised
    from raysweep.data.images.decode import decode

    backbone = load_backbone("timm/test_efficientnet", "random", size=_SIZE)
    resize = backbone.preprocessing.resize
    for split in _NUM_IMAGES:
        rows = read_split(str(features), split)
        pixels = [decode((images / name).read_bytes(), resize)[0] for name in rows.ids]
        values = torch.from_numpy(np.stack(pixels))
        with torch.inference_mode():
            expected = backbone.body(
                normalised(values, backbone.preprocessing, torch.float32)
            ).numpy()
        assert np.abs(expected).max() > 0.01
        assert np.abs(rows.features - expected).max() < 0.03 * np.abs(expected).max(), "bfloat16"


def test_a_changed_setting_is_refused_with_the_difference(features: Path, images: Path) -> None:
    process = start(images, features, "--resize", "squash", "--seed", "3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"preprocessing.resize.mode: crop there, squash now" in errors
    assert b"weights_hash" in errors, "the seed is that of the random weights"
    assert b"Traceback" not in errors


def test_the_same_command_again_does_nothing(features: Path, images: Path) -> None:
    before = written(features)
    assert finish(start(images, features))["images_done_now"] == 0
    assert written(features) == before
