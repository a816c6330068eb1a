"""Successive halving with several objectives: in trial order, and the front goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.cluster.runs.ledger import FINISHED, STOPPED, Ledger
from raysweep.cluster.search.halving import CONTINUE, STOP, WAIT, ParetoHalving
from raysweep.cluster.search.schedulers import OrderedASHA, build_scheduler
from raysweep.core.objectives import Constraint, Objective
from raysweep.core.storage import Storage

OBJECTIVES = (Objective("val", "min"), Objective("accuracy", "max"))


def points(seed: int, num: int = 24) -> list[tuple[float, float]]:
    """On a coarse grid, so that some are equal."""
    rng = np.random.default_rng(seed)
    return [(float(a), float(b)) for a, b in rng.integers(0, 10, (num, 2))]


def in_order(values: list[tuple[float, float]], factor: float) -> list[str]:
    halving, decisions = ParetoHalving([1], factor), []
    for index, value in enumerate(values):
        halving.record(index, 1, value)
        decisions.append(halving.decide(index, 1))
    return decisions


def test_decisions_worked_out_by_hand() -> None:
    values = [(5.0, 5.0), (6.0, 6.0), (4.0, 6.0), (9.0, 1.0), (5.0, 5.0), (1.0, 1.0)]
    # Of two, the second is dominated. (4, 6) is an end of a front of two, among three, and only
    # one and a half may go on; both are ends, so none stands before it. (9, 1) is an end again.
    # (5, 5) lies between the ends (4, 6) and (9, 1). (1, 1) dominates everything.
    assert in_order(values, 2.0) == [CONTINUE, STOP, CONTINUE, CONTINUE, CONTINUE, CONTINUE]
    assert in_order(values, 4.0)[3:] == [CONTINUE, STOP, CONTINUE]


def test_what_is_dominated_by_many_never_goes_on() -> None:
    for seed in range(5):
        values = points(seed)
        for index, decision in enumerate(in_order(values, 3.0)):
            better = sum(
                a <= values[index][0] and b <= values[index][1] and (a, b) != values[index]
                for a, b in values[:index]
            )
            if index > 1 and better > (index + 1) / 3.0:
                assert decision == STOP


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_arrival_changes_no_decision(seed: int) -> None:
    values = points(seed)
    expected = in_order(values, 3.0)
    halving, decided = ParetoHalving([1], 3.0), {}
    for index in np.random.default_rng(seed).permutation(len(values)):
        halving.record(int(index), 1, values[index])
        for other in range(len(values)):
            if other not in decided and other in halving._rungs[0]:
                decision = halving.decide(other, 1)
                if decision != WAIT:
                    decided[other] = decision
    assert [decided[i] for i in range(len(values))] == expected


def test_the_best_epoch_is_that_of_the_first_objective() -> None:
    halving = ParetoHalving([2], 2.0)
    halving.record(0, 1, (1.0, 9.0))
    halving.record(0, 2, (2.0, 3.0))
    assert halving._rungs[0] == {0: (1.0, 9.0)}


class Config:
    epochs = 4


def scheduler(ledger: Ledger) -> Any:
    def suggest(trial: Any) -> dict[str, Any]:
        return {}

    return build_scheduler(
        "asha", ledger, Config(), suggest, grace_period=1, reduction_factor=2.0, seed=0
    )


def fill(folder: Path, constraints: tuple[Constraint, ...] = ()) -> Ledger:
    ledger = Ledger(Storage(folder), "val", "min", objectives=OBJECTIVES, constraints=constraints)
    for index, (val, accuracy) in enumerate([(3.0, 0.5), (1.0, 0.9), (2.0, 0.7)]):
        ledger.add({}, {"x": index})
        ledger.result(index, {"epoch": 1, "val": val, "accuracy": accuracy})
        ledger.end(index, FINISHED if index != 1 else STOPPED)
    return ledger


def test_asha_judges_by_all_objectives_and_what_the_ledger_knows(tmp_path: Path) -> None:
    asha = scheduler(fill(tmp_path))
    assert isinstance(asha, OrderedASHA)
    assert asha._halving._rungs[0] == {0: (3.0, -0.5), 1: (1.0, -0.9), 2: (2.0, -0.7)}
    asha._note(3, {"epoch": 1, "val": 2.5, "accuracy": 0.95, "history": json.dumps([])})
    assert asha._halving.decide(3, 1) == CONTINUE
    asha._note(4, {"epoch": 1, "val": 2.5, "accuracy": 0.6})
    assert asha._halving.decide(4, 1) == STOP


def test_a_trial_that_broke_a_constraint_is_no_measure_for_others(tmp_path: Path) -> None:
    asha = scheduler(fill(tmp_path, (Constraint("accuracy", "<=", 0.8),)))
    assert sorted(asha._halving._rungs[0]) == [0, 2]
    asha._note(3, {"epoch": 1, "val": 0.1, "accuracy": 0.9, "infeasible": "why", "done": True})
    assert sorted(asha._halving._rungs[0]) == [0, 2]
    assert 3 in asha._halving._ended
