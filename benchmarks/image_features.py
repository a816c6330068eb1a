"""Features of images: raysweep, the bare network, Ray Data, and the loop that everybody writes.

    python -m benchmarks.image_features --data-dir ../shared/data --rounds 3
    python -m benchmarks.image_features --data-dir ../shared/data --backbone efficientnet_lite0
    python -m benchmarks.image_features --data-dir ../shared/data --memory

Weights are random, as speed does not depend on them. The contestants, each in a fresh process:

- raysweep: `raysweep features` on the whole folder, from the first image in the network to the last
  shard on disk. Start-up (imports, Ray, building the network) is left out.
- bare, together: the network alone on random numbers of the same precision (bfloat16,
  channels-last), in one process with a thread a core: no files, no decoding, nothing written.
- bare, apart: the same with one process of one thread a core. The goal is judged by the faster.
- loop: `ImageFolder`, `DataLoader` with 2 workers, float32, features kept in a list; from its
  first batch on.
- ray data: `read_images`, `map` with torchvision's transforms, `map_batches` with an actor a core,
  float32, `write_parquet`, as its example "Image batch inference with PyTorch" shows; from its
  first batch on.

Processor time is shown beside the clock's: on a machine that others use, it is the fairer one.

`--memory` instead compares the peak memory (PSS of all processes) of 300 and of 3,000 images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    CONSOLE,
    Contestant,
    Run,
    in_turns,
    pairwise,
    run,
    save,
    scratch,
    spread,
    verdict,
)
from benchmarks.overheads.memory_growth import MemoryWatch
from raysweep.data.sources.fetch import fetch

_BARE, _LOOP, _RAY_DATA, _MEMORY = 0.90, 2.5, 1.3, 1.10
_BATCHES = (4, 8)  # the faster one counts
_SIZE = 224


def _contestant(name: str, *arguments: str) -> Contestant:
    return Contestant(name, "benchmarks.image_features", ("--contestant", name, *arguments))


def _body(backbone: str, dtype: Any) -> Any:
    """The network up to its last pooling, without the weights behind it."""
    import torch

    from raysweep.data.features.backbones import load_backbone

    network = load_backbone(backbone, "random").body
    return network.to(dtype).to(memory_format=torch.channels_last)


def _ours(backbone: str, folder: Path) -> dict[str, Any]:
    from raysweep.cluster.features import run_features
    from raysweep.data.features.job import FeatureRequest

    request = FeatureRequest(
        images=str(folder / "images"), backbone=backbone, weights="random", resize="squash"
    )
    result = run_features(request, str(folder / "out"), quiet=True)
    tally = result.tally
    processor = tally.processor_s / tally.images
    return {**result.to_dict(), "rate": tally.images_per_second, "processor_s": processor}


def _bare(backbone: str, threads: int, seconds: float, barrier: Any = None) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    body = _body(backbone, torch.bfloat16)
    rates = []
    for batch in _BATCHES:
        images = torch.randn(batch, 3, _SIZE, _SIZE, dtype=torch.bfloat16)
        images = images.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            body(images)
            if barrier is not None:
                barrier.wait()
            start, processor, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - start < seconds / len(_BATCHES):
                body(images)
                count += batch
        elapsed, processor = time.perf_counter() - start, time.process_time() - processor
        rates.append({"rate": count / elapsed, "processor_s": processor / count})
    return max(rates, key=lambda measured: measured["rate"])


def _one_of_many(backbone: str, seconds: float, barrier: Any, queue: Any) -> None:
    queue.put(_bare(backbone, 1, seconds, barrier))


def _apart(backbone: str, seconds: float) -> dict[str, float]:
    """One process a core: the sum of their rates, the mean of their processor time."""
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    barrier, queue = context.Barrier(cores), context.Queue()
    workers = [
        context.Process(target=_one_of_many, args=(backbone, seconds, barrier, queue))
        for _ in range(cores)
    ]
    for worker in workers:
        worker.start()
    results = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    mean = sum(result["processor_s"] for result in results) / len(results)
    return {"rate": sum(result["rate"] for result in results), "processor_s": mean}


def _transforms() -> Any:
    from torchvision import transforms

    steps = [
        transforms.ToTensor(),
        transforms.Resize((_SIZE, _SIZE)),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    return transforms.Compose(steps)


def _preprocess(row: dict[str, Any]) -> dict[str, Any]:
    return {"image": _transforms()(row["image"]).numpy()}


class _Network:
    def __init__(self, backbone: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.network = _body(backbone, torch.float32).to(memory_format=torch.contiguous_format)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import numpy as np
        import torch

        began = time.time()
        with torch.inference_mode():
            features = self.network(torch.from_numpy(batch["image"])).numpy()
        return {"features": features, "began": np.full(len(features), began)}


def _ray_data(backbone: str, folder: Path) -> dict[str, float]:
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    images = ray.data.read_images(str(folder / "images"), mode="RGB")
    # Half a CPU each: actors that hold all of them leave none to the tasks that read images.
    workers = ray.data.ActorPoolStrategy(size=os.cpu_count())
    features = images.map(_preprocess).map_batches(
        _Network, fn_constructor_args=(backbone,), batch_size=32, compute=workers, num_cpus=0.5
    )
    features.write_parquet(str(folder / "out"))
    end = time.time()
    began = ray.data.read_parquet(str(folder / "out"), columns=["began"]).to_pandas()["began"]
    return {"rate": len(began) / (end - began.min())}


def _loop(backbone: str, folder: Path) -> dict[str, float]:
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets

    splits = [
        datasets.ImageFolder(str(split), _transforms())
        for split in sorted((folder / "images").iterdir())
    ]
    loader: Any = DataLoader(torch.utils.data.ConcatDataset(splits), batch_size=32, num_workers=2)
    network = _body(backbone, torch.float32).to(memory_format=torch.contiguous_format)
    start, count, features = 0.0, 0, []
    processor = _processor_time()
    with torch.inference_mode():
        for images, _ in loader:
            if start:
                count += len(images)
            features.append(network(images).numpy())
            start = start or time.perf_counter()
    rate = count / (time.perf_counter() - start)
    del loader  # ends its workers, whose time counts only then
    images_done = sum(map(len, features))
    return {"rate": rate, "processor_s": (_processor_time() - processor) / images_done}


def _processor_time() -> float:
    """Of this process and its children that have ended, in seconds."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def _contest(name: str, backbone: str, folder: Path, seconds: float) -> None:
    if name == "raysweep":
        answer = _ours(backbone, folder)
    elif name == "bare together":
        answer = dict(_bare(backbone, os.cpu_count() or 1, seconds))
    elif name == "bare apart":
        answer = dict(_apart(backbone, seconds))
    elif name == "ray data":
        answer = dict(_ray_data(backbone, folder))
    else:
        answer = dict(_loop(backbone, folder))
    print(json.dumps(answer))


def _copy_images(source: Path, folder: Path, count: int) -> None:
    """So many images, as often as it takes, under names of their own."""
    files = sorted(path for path in source.glob("*/*/*") if path.is_file())
    for number, path in zip(range(count), itertools.cycle(files), strict=False):
        target = folder / "images" / path.parent.relative_to(source) / f"{number}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _speed(folder: Path, backbone: str, rounds: int, seconds: float, path: Path | None) -> None:
    names = ("raysweep", "bare together", "bare apart", "ray data", "loop")
    own = ("--seconds", str(seconds), "--backbone", backbone)
    contestants = [_contestant(name, *own) for name in names]
    runs = in_turns(contestants, folder, rounds)
    rates = {name: [one.answer["rate"] for one in runs[name]] for name in names}
    # For the many processes of Ray Data nobody adds it up.
    processor = {
        name: [one.answer["processor_s"] * 1000 for one in runs[name]]
        for name in names
        if name != "ray data"
    }
    for name in names:
        of_processor = (
            f"; {spread(processor[name], ' ms', 0)} of processor" if name in processor else ""
        )
        CONSOLE.print(f"{name:14} {spread(rates[name], ' images/s', 1)}{of_processor}")
    bare = max(("bare together", "bare apart"), key=lambda name: statistics.median(rates[name]))
    shares = {
        f"{bare}, by raysweep": (pairwise(rates[bare], rates["raysweep"]), 1 / _BARE),
        "loop, by raysweep": (pairwise(rates["loop"], rates["raysweep"]), 1 / _LOOP),
        "ray data, by raysweep": (pairwise(rates["ray data"], rates["raysweep"]), 1 / _RAY_DATA),
    }
    goals = [
        verdict(name, statistics.median(ratios), goal) for name, (ratios, goal) in shares.items()
    ]
    last = runs["raysweep"][-1].answer
    per_image = last["bytes"] / sum(last["rows"].values())
    CONSOLE.print(f"raysweep       {per_image / 1000:.1f} KB an image; {last['stages']}")
    record = {"backbone": backbone, "rates": rates, "processor_ms": processor, "goals": goals}
    save(path, record, runs)


def _memory(source: Path, counts: list[int], path: Path | None) -> None:
    peaks: dict[str, list[float]] = {"total_mib": [], "worker_mib": [], "driver_mib": []}
    runs: dict[str, list[Run]] = {}
    for count in counts:
        with scratch() as folder:
            _copy_images(source, folder, count)
            watch = MemoryWatch()
            runs[str(count)] = [run(_contestant("raysweep"), folder, watch)]
        for name, value in watch.peaks().items():
            peaks[name].append(value)
        peak_list = ", ".join(f"{name} {values[-1]:.0f}" for name, values in peaks.items())
        CONSOLE.print(f"{count} images: {peak_list}")
    growth = peaks["total_mib"][-1] / peaks["total_mib"][0]
    goals = [verdict(f"peak memory of {counts[-1]} by {counts[0]} images", growth, _MEMORY)]
    save(path, {"counts": counts, "peaks": peaks, "goals": goals}, runs)


def main() -> None:
    """Runs the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", default="", help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", default=None, help="folder with dogscats")
    parser.add_argument("--backbone", default="vgg16", help="as for `raysweep features`")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the bare network")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--counts", type=int, nargs=2, default=[300, 3000], help="for --memory")
    parser.add_argument("--json", type=Path, default=None, help="a file for every figure")
    arguments = parser.parse_args()
    if arguments.contestant:
        _contest(arguments.contestant, arguments.backbone, arguments.folder, arguments.seconds)
        return
    source = fetch("dogscats", data_dir=arguments.data_dir)
    if arguments.memory:
        _memory(source, arguments.counts, arguments.json)
        return
    with scratch() as folder:
        _copy_images(source, folder, arguments.images)
        backbone = arguments.backbone
        _speed(folder, backbone, arguments.rounds, arguments.seconds, arguments.json)


if __name__ == "__main__":
    main()
