"""`--target` and `--patience`: when a search has what it was started for, or gets no better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raysweep.cluster.runs.ledger import FINISHED, Ledger
from raysweep.cluster.search.early_end import EarlyEnd
from raysweep.core.storage import Storage


def played(folder: Path, mode: str, seed: int, trials: int = 12) -> list[tuple[Ledger, int]]:
    """A ledger that grows by a result or an end at a time, trials in any order."""
    rng = np.random.default_rng(seed)
    ledger = Ledger(Storage(folder), "val_loss", mode)
    for _ in range(trials):
        ledger.add({}, {"x": float(rng.random())})
    steps = rng.permutation(np.repeat(np.arange(trials), 3))
    return [(ledger, int(index)) for index in steps]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("seed", range(5))
def test_patience_counts_the_trials_after_the_best_that_have_ended(
    tmp_path: Path, mode: str, seed: int
) -> None:
    rng, seen = np.random.default_rng(seed), dict[int, int]()
    end: EarlyEnd | None = None
    for ledger, index in played(tmp_path, mode, seed):
        end = end or EarlyEnd(ledger, patience=3)
        seen[index] = seen.get(index, 0) + 1
        if seen[index] < 3:
            ledger.result(index, {"epoch": seen[index], "val_loss": float(rng.random())})
        else:
            ledger.end(index, FINISHED)
        end.update(ledger.trials[index])
        ranked = ledger.ranked()
        after = [t for t in ledger if ranked and t.index > ranked[0].index and t.status == FINISHED]
        assert bool(end.reached()) == (len(after) >= 3)
        assert end.reached() == EarlyEnd(ledger, patience=3).reached(), "also after a resume"


def test_a_target_is_reached_by_a_value_that_is_as_good(tmp_path: Path) -> None:
    ledger = Ledger(Storage(tmp_path), "val_accuracy", "max")
    trial, end = ledger.add({}, {"x": 1}), EarlyEnd(ledger, target=0.9)
    for epoch, value, expected in ((1, 0.89, False), (2, 0.9, True), (3, 0.1, True)):
        ledger.result(trial.index, {"epoch": epoch, "val_accuracy": value})
        end.update(trial)
        assert bool(end.reached()) == expected
    assert end.reached() == "trial 0 reached the target of 0.9 with 0.9"
