"""One line of the table of benchmarks: searches by learning curves beside TPE with ASHA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.epochs import Measured
from benchmarks.search_quality.searches import Search, run_all

__all__ = ["BUDGET", "curves_beside_tpe", "lcbench"]

BUDGET = 5.0
_TASKS = ("lc12", "lc19", "lc26", "lc33")  # of those that nothing was tuned on
_METHODS = ("curves", "tpe-asha")
_LEAST = 0.003  # is added to regrets, so that one of 0 has a logarithm
_JOBS = 2


def lcbench() -> Path | None:
    """LCBench's folder beside the samples that RAYSWEEP_DATA names; None where it is not."""
    data = os.environ.get("RAYSWEEP_DATA")
    folder = Path(data).parent / "search_quality" / "lcbench" if data else None
    return folder if folder is not None and folder.is_dir() else None


def curves_beside_tpe(rounds: int, batches: int) -> Measured:
    """Regrets after five trainings' worth of epochs, in place of seconds; a seed is a round.

    Args:
        rounds: seeds.
        batches: does not matter.

    Returns:
        for each seed the geometric mean of four data sets' regrets.
    """
    folder = lcbench()
    assert folder is not None, "the row is left out without LCBench"
    searches = [
        Search(curves=folder, task=task, method=method, seed=seed, budget=BUDGET)
        for method in _METHODS
        for seed in range(rounds)
        for task in _TASKS
    ]
    last = {place: outcome.regret[-1] for place, outcome in run_all(searches, _JOBS)}
    flat = np.array([last[place] for place in range(len(searches))])
    logs = np.log(flat.reshape(len(_METHODS), rounds, len(_TASKS)) + _LEAST)
    ours, theirs = np.exp(logs.mean(2))  # [rounds] each
    return Measured(ours.tolist(), theirs.tolist(), float(ours.mean()), float(theirs.mean()))
