"""How fast a step could be: floors by arithmetic and by bytes, of one thread of this machine.

python -m benchmarks.floors                      # beside the newest report's measured steps

The first floor is the step's multiplications and additions at the rate of this machine's largest
product (of bfloat16 for texts, where that is faster); the second is the bytes that must move, at
the rate of a large copy. A step cannot be faster than the larger of the two. Both count what the
task needs, whatever the implementation: padding is no work, and every weight is passed over once
by the optimiser.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from benchmarks.epochs import EPOCHS_A_ROUND
from benchmarks.harness import CONSOLE, REPORTS
from benchmarks.table import last_report
from raysweep.data.features.backbones import load_backbone

# Mean words of a review of IMDB's sample, cut at 500; batches and layers are the defaults.
_WORDS, _TEXTS = 230, 64
_VOCABULARY = 5000


@dataclass(frozen=True)
class Work:
    """One step.

    Attributes:
        row: of `benchmarks.table`.
        steps: in a measured round of a quick report; 0 for as many as it says of texts.
        flops: multiplications and additions, forward and backward.
        weights: numbers that the optimiser passes over.
        activations: bytes read and written besides.
        bfloat16: whether products may be of half precision.
    """

    row: str
    steps: int
    flops: float
    weights: float
    activations: float
    bfloat16: bool = False

    @property
    def bytes(self) -> float:
        """Of float32: gradient written; weight, gradient, two moments read; three written."""
        return self.weights * 4 * 8 + self.activations


def _text(row: str, per_word: float, per_text: float, weights: float, width: float) -> Work:
    """Forward, and backward to weights and to inputs, are each as much: 3 · 2 per weight used."""
    flops = 6 * _TEXTS * (_WORDS * per_word + per_text)
    activations = _TEXTS * _WORDS * width * 2 * 4
    return Work(row, 0, flops, weights + _VOCABULARY * 32, activations, bfloat16=True)


def _image(backbone: str) -> Work:
    """A network's convolutions on one image, as they are computed; all of bfloat16."""
    body = load_backbone(backbone, "random").body.eval()
    flops: list[float] = []
    numbers: list[int] = []

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        numbers.append(output.numel())
        if isinstance(layer, torch.nn.Conv2d):
            flops.append(2.0 * output.numel() * layer.weight[0].numel())

    for layer in body.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        body(torch.zeros(1, 3, 224, 224))
    # Every output is written and read; weights stay in the cache for the images of a batch.
    return Work(f"features-{backbone}", 1, sum(flops), 0.0, 2 * 2 * sum(numbers), bfloat16=True)


def works() -> list[Work]:
    """The steps of the table's rows, from their configurations."""
    dense = 250 * 64 * 100
    conv, wide = 5 * 32 * 64, (3 + 4 + 5) * 50 * 64
    gates = 4 * 100 * (32 + 100)
    ratings, factors, rows = 1024, 64, 943 + 1682
    moved = ratings * factors * 24
    factorisation, shards = (steps * EPOCHS_A_ROUND for steps in (79, 90))
    head = 1280 * 64 + 64 * 10
    return [
        _text("cnn", conv, dense, conv + dense, 32 + 64),
        _text("multi_width", wide, 3 * dense, wide + 3 * dense + _VOCABULARY * 18, 50 + 192),
        _text("lstm", gates, 100 * 100, gates + 100 * 100, 32 + 5 * 100),
        Work("mf", factorisation, 6 * ratings * factors, rows * (factors + 1), moved),
        Work("shards", shards, 4 * 64 * head, head, 64 * 1280 * (2 + 4)),
        _image("vgg16"),
        _image("efficientnet_lite0"),
    ]


def measured() -> dict[str, float]:
    """Seconds of processor time of each step (an image, for features), from the newest reports."""
    seconds_by_row: dict[str, float] = {}
    report = last_report("quick")
    record = json.loads(report.read_text()) if report else {"rows": {}}
    for work in works():
        if work.row in record["rows"]:
            seconds = min(record["rows"][work.row]["processor_seconds"]["ours"])
            seconds_by_row[work.row] = seconds / (work.steps or record["batches"])
    for path in sorted(REPORTS.glob("features-*.json"), key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text())
        seconds_by_row[f"features-{record['backbone']}"] = (
            min(record["processor_ms"]["raysweep"]) / 1000
        )
    return seconds_by_row


def _rate(work: Callable[[], object], amount: float) -> float:
    """Amount a second of processor time, the best of several."""
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return amount / best


def rates() -> dict[str, float]:
    """This machine's: float32 and bfloat16 operations a second, bytes a second, on one thread."""
    size = 1024
    one, other = torch.randn(size, size), torch.randn(size, size)
    half, more = one.bfloat16(), other.bfloat16()
    source = torch.zeros(1 << 26)
    target = torch.zeros_like(source)
    return {
        "float32": _rate(lambda: one @ other, 2 * size**3),
        "bfloat16": _rate(lambda: half @ more, 2 * size**3),
        "bytes": _rate(lambda: target.copy_(source), 2 * 4 * len(source)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the floors of every step, and how far above them the newest quick report is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.parse_args(arguments)
    torch.set_num_threads(1)
    peaks = rates()
    CONSOLE.print(
        f"one thread: {peaks['float32'] / 1e9:.0f} GFLOP/s float32, "
        f"{peaks['bfloat16'] / 1e9:.0f} bfloat16, {peaks['bytes'] / 1e9:.1f} GB/s"
    )
    steps = measured()
    table = Table("step of", "by arithmetic, ms", "by bytes, ms", "measured, ms", "above the floor")
    for work in works():
        peak = max(peaks["float32"], peaks["bfloat16"] if work.bfloat16 else 0.0)
        floors = work.flops / peak, work.bytes / peaks["bytes"]
        cells = [f"{floor * 1e3:.3g}" for floor in floors]
        if step := steps.get(work.row):
            cells += [f"{step * 1e3:.2f}", f"{step / max(floors):.1f} times"]
        table.add_row(work.row, *cells)
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
