from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.search_quality.clock import simulate
from benchmarks.search_quality.methods import remote
from benchmarks.search_quality.methods.base import Method, Work
from benchmarks.search_quality.methods.pausing import Hyperband, Promoting
from benchmarks.search_quality.methods.registry import build
from benchmarks.search_quality.methods.stopping import Stopping
from benchmarks.search_quality.tasks import Source
from raysweep.cluster.search.proposers import RandomProposer
from raysweep.core.errors import UserError
from raysweep.search_spaces.space import Trial


def suggest(trial: Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", 0.0, 1.0)}


def trained(method: Method, num_works: int, fail: tuple[int, ...] = ()) -> list[tuple[int, int]]:
    """Trains what a method asks for, one after the other: (trial, target). The value is x."""
    values: dict[int, float] = {}
    epochs: dict[int, int] = {}
    done = []
    for _ in range(num_works):
        work = method.next()
        assert isinstance(work, Work)
        if work.trial not in epochs:
            assert work.params is not None
            values[work.trial], epochs[work.trial] = float(work.params["x"]), 0
            method.started(work.trial, work.params)
        done.append((work.trial, work.target))
        if work.trial in fail:
            method.failed(work.trial, epochs[work.trial] + 1)
            continue
        for epoch in range(epochs[work.trial] + 1, work.target + 1):
            method.report(work.trial, epoch, values[work.trial])
        epochs[work.trial] = work.target
        method.arrived(work.trial, work.target)
    method.close()
    return done


def drawn(seed: int, num: int) -> list[float]:
    """What the random proposer draws for the first trials."""
    points = [RandomProposer(suggest, seed).propose(k, 0) for k in range(num)]
    return [float(point[0]["x"]) for point in points if point is not None]


def test_full_trainings_are_one_piece_of_work() -> None:
    done = trained(Stopping(RandomProposer(suggest, 0), 27, 27), 4)
    assert done == [(k, 27) for k in range(4)]


@pytest.mark.parametrize("seed", range(3))
def test_halving_stops_and_goes_on_as_the_product_decides(seed: int) -> None:
    done = trained(Stopping(RandomProposer(suggest, seed), 27, 9), 30)
    values, going = drawn(seed, 30), {trial for trial, target in done if target == 27}
    assert {0, 1} <= going  # Too few to tell the best third of.
    for trial in range(2, max(going)):
        needed = np.quantile(values[:trial], 1 - 1 / 3)
        assert (trial in going) == (values[trial] >= needed)


def test_a_third_of_each_rung_is_promoted_the_best_first() -> None:
    done = trained(Promoting(RandomProposer(suggest, 0), 27, 3), 40)
    values = drawn(0, 40)
    assert done[:4] == [(0, 3), (1, 3), (2, 3), (int(np.argmax(values[:3])), 9)]
    for low, high in ((3, 9), (9, 27)):
        at_low, at_high = ([t for t, target in done if target == at] for at in (low, high))
        assert len(at_high) == pytest.approx(len(at_low) // 3, abs=1)
        assert set(at_high) <= set(at_low)


def test_a_trial_that_failed_is_never_promoted() -> None:
    best = int(np.argmax(drawn(0, 3)))
    done = trained(Promoting(RandomProposer(suggest, 0), 27, 3), 40, fail=(best,))
    assert [target for trial, target in done if trial == best] == [3]


def test_hyperbands_brackets_are_those_of_the_paper() -> None:
    # R = 27, a third each time: 27 trials to 1, 9 to 3, 3 to 9, 1 to 27; then 12 to 3, and so on.
    sizes = [(27, 1), (9, 3), (3, 9), (1, 27), (12, 3), (4, 9), (1, 27), (6, 9), (2, 27), (4, 27)]
    total = sum(size for size, _ in sizes)
    done = trained(Hyperband(RandomProposer(suggest, 0), 27), total + 1)
    at = 0
    values = drawn(0, 60)
    before: list[int] = []
    for size, target in sizes:
        rung = done[at : at + size]
        assert [t for _, t in rung] == [target] * size
        trials = [trial for trial, _ in rung]
        if set(trials) <= set(before):
            assert trials == sorted(before, key=lambda t: -values[t])[:size]
        before, at = trials, at + size
    assert done[total][1] == 1  # and over again


def test_hyperband_goes_on_without_trials_that_failed() -> None:
    done = trained(Hyperband(RandomProposer(suggest, 0), 27), 90, fail=tuple(range(27)))
    assert [target for _, target in done[:28]] == [1] * 27 + [3]


@pytest.mark.parametrize(
    "name", ["random", "tpe", "asha", "asha-3", "tpe-asha-3", "hyperband", "asha-promoting"]
)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_search_of_a_table_repeats_itself(name: str, workers: int, table: Path) -> None:
    task = Source.at(table).load("first")
    regrets = []
    for _ in range(2):
        method = build(name, task, 5)
        regrets.append(simulate(task, method, num_epochs=50, workers=workers).regret)
        method.close()
    assert (regrets[0] == regrets[1]).all()
    assert (np.diff(regrets[0]) <= 0).all()
    assert regrets[0][-1] < 0.5


def test_a_rival_in_another_process_learns_of_the_rows(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RIVALS", Path(sys.executable))  # Optuna is here as well.
    remote.require_rivals(["optuna"])
    task = Source.at(table).load("first")
    method = build("optuna", task, 0)
    try:
        outcome = simulate(task, method, num_epochs=20 * task.max_t)
    finally:
        method.close()
    assert 20 <= outcome.num_started <= 24
    assert outcome.regret[-1] < 0.5


def test_what_a_rival_says_when_it_ends_is_passed_on(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RIVALS", Path(sys.executable))
    task = Source.at(table).load("first")
    method = remote.Remote("optuna", task.space, -1, task.max_t)  # no seed of Optuna's
    with pytest.raises(RuntimeError, match="ValueError"):
        method.next()
    method.close()


def test_rivals_that_are_not_installed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RIVALS", tmp_path / "python")
    with pytest.raises(UserError, match=r"smac is not in .venv-rivals: `make rivals`"):
        remote.require_rivals(["smac"])
