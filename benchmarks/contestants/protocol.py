"""How a contestant is called and what it answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["answer", "options"]


def options(description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses FOLDER (see `benchmarks.problem`), --trials, --concurrency and --num-workers."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made by python -m benchmarks.problem")
    parser.add_argument("--trials", type=int, help="only the first so many configurations")
    parser.add_argument("--concurrency", type=int, help="trials at a time; a core each by default")
    parser.add_argument("--num-workers", type=int, default=0, help="of the DataLoader, if any")
    return parser.parse_args(arguments)


def answer(**values: Any) -> None:
    """Prints the answer, the last line of standard output.

    Every contestant answers best_val_rmse, num_trials, num_epochs (of all trials), search_s
    (without imports, data and the start of Ray) and compute_s (training and validation alone,
    summed over all trials).
    """
    print(json.dumps(values), flush=True)
