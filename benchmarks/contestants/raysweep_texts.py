"""The search by raysweep, as `raysweep tune sentiment dropout_placement` does it, up to a goal.

python -m benchmarks.contestants.raysweep_texts FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from benchmarks.contestants.protocol import options
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.run import run_search
from raysweep.core.storage import Storage

reached: list[float] = []


def _interrupt_at(target: float, ledger: Path) -> None:
    """Ends the search with what Ctrl-C ends it with, once a result is as good as the target."""
    while True:
        time.sleep(0.1)
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        for line in lines[1:-1]:
            event = json.loads(line)
            if event["event"] == "result" and event["result"]["val_accuracy"] >= target:
                reached.append(time.time() - float(os.environ["BENCHMARK_STARTED"]))
                os.kill(os.getpid(), signal.SIGINT)
                return


def main() -> None:
    """Searches and answers."""
    folder = options(__doc__, None).folder
    task = json.loads((folder / "task.json").read_text())
    request = SearchRequest(
        task="sentiment",
        spaces=("dropout_placement",),
        settings={"epochs": task["epochs"]},
        data={"data_dir": task["data_dir"]},
        num_samples=task["trials"],
        seed=int(os.environ["BENCHMARK_SEED"]),
    ).checked()
    watch = (task["target"], folder / "run" / "ledger.jsonl")
    threading.Thread(target=_interrupt_at, args=watch, daemon=True).start()
    result = run_search(request, Storage(folder / "run"), RunOptions(quiet=True))
    accuracies = [epoch["val_accuracy"] for trial in result.ledger for epoch in trial.history]
    print(
        json.dumps(
            {"val_accuracy": max(accuracies), "num_epochs": len(accuracies), "reached_s": reached}
        )
    )


if __name__ == "__main__":
    main()
