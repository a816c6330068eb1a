"""How long a report of a 200-trial search takes, and how large its page is.

    python -m benchmarks.overheads.report_page

The searches are made up (results are a sum of planted effects and noise), their configurations are
drawn from the real spaces: `dropout_placement`, and `filter_widths`, which has the most columns.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.report import write_report
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import open_run
from raysweep.core.storage import Storage
from raysweep.search_spaces import sample

NUM_TRIALS, EPOCHS = 200, 4
SPACES = ("dropout_placement", "filter_widths")


def planted_run(folder: Path, space: str) -> Storage:
    """Writes a run of 200 trials, two thirds of them stopped after an epoch."""
    storage = Storage(folder)
    request = SearchRequest(
        task="sentiment", spaces=(space,), settings={"epochs": EPOCHS}, num_samples=NUM_TRIALS
    ).checked()
    write_experiment(storage, request, "0", "made up")
    ledger, rng = Ledger(storage, "val_accuracy", "max"), np.random.default_rng(0)
    for index in range(NUM_TRIALS):
        params, fields = sample(request.suggest(), 0, index) if index else ({}, {})
        config = request.config(fields)
        ledger.add(params, config.to_dict())
        good = 0.88 + 0.01 * (3 in config.filter_widths) - 0.04 * config.word_dropout**2
        good += float(rng.normal(scale=0.003))
        epochs = EPOCHS if good > 0.885 or not index else 1
        for epoch in range(1, epochs + 1):
            result = {"epoch": epoch, "val_accuracy": good - 0.02 / epoch**1.5}
            ledger.result(index, {**result, "time_epoch_s": 5.0})
        ledger.end(index, "finished" if epochs == EPOCHS else "stopped")
    return storage


def main() -> None:
    """Prints seconds and bytes for each space."""
    print("| search | seconds | processor seconds | page, MB |\n| --- | --- | --- | --- |")
    for space in SPACES:
        with tempfile.TemporaryDirectory() as folder:
            run = planted_run(Path(folder) / "run", space)
            start, spent = time.perf_counter(), time.process_time()
            path = Path(write_report([open_run(run.uri, "")]))
            seconds, processor = time.perf_counter() - start, time.process_time() - spent
            size = path.stat().st_size / 1e6
        print(f"| {NUM_TRIALS} trials of {space} | {seconds:.1f} | {processor:.1f} | {size:.2f} |")


if __name__ == "__main__":
    main()
