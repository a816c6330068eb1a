"""A search that pauses trials, on a ledger that is cut off anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.cluster.runs.ledger import FAILED, FINISHED, Ledger, TrialRecord
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Trial

MAX_T = 12


def suggest(trial: Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", 0, 1), "n": trial.suggest_int("n", 1, 4)}


def value(config: dict[str, Any], epoch: int) -> float:
    return float((1 - (config["x"] - 0.3) ** 2 - 0.05 * config["n"]) * (1 - 0.8**epoch))


def complete(fields: dict[str, Any]) -> dict[str, Any]:
    return {"x": 0.5, "n": 2, **fields}


def plan(folder: Path, **more: Any) -> CurvePlan:
    ledger = Ledger(Storage(str(folder)), "score", "max")
    first: list[Any] = [({"x": 0.5, "n": 2}, {})]
    options: dict[str, Any] = {"first": first, "budget": 5, **more}
    return CurvePlan(ledger, suggest, 0, MAX_T, complete, **options)


def work(one: CurvePlan, workers: int = 1) -> None:
    """Trains until nothing is left; of several workers, each epoch in turn."""
    places = list(one.under_way())
    while True:
        while len(places) < workers and (trial := one.next()) is not None:
            places.append(trial)
        if not places:
            return
        for trial in list(places):
            epoch = min(trial.epoch + 1, MAX_T)
            one.ledger.result(trial.index, {"epoch": epoch, "score": value(trial.config, epoch)})
            if epoch == MAX_T:
                one.ledger.end(trial.index, FINISHED)
            if epoch >= (trial.target or 0):
                places.remove(trial)


def read(folder: Path) -> list[str]:
    return (folder / "ledger.jsonl").read_text().splitlines(keepends=True)


def test_the_default_is_trained_whole_and_the_budget_is_kept(tmp_path: Path) -> None:
    one = plan(tmp_path)
    work(one)
    assert one.ledger.trials[0].epoch == MAX_T
    total = sum(t.epoch for t in one.ledger)
    assert 5 * MAX_T <= total < 6 * MAX_T
    assert len(one.paused()) > 3
    assert one.over()


def test_a_ledger_that_is_cut_off_anywhere_becomes_the_same_again(tmp_path: Path) -> None:
    work(plan(tmp_path / "whole"))
    lines = read(tmp_path / "whole")
    for cut in range(0, len(lines), 7):
        folder = tmp_path / f"{cut}"
        folder.mkdir()
        (folder / "ledger.jsonl").write_text("".join(lines[:cut]))
        work(plan(folder))
        assert read(folder) == lines


def test_with_several_workers_every_decision_follows_from_what_stands_above_it(
    tmp_path: Path,
) -> None:
    work(plan(tmp_path / "whole"), workers=3)
    lines = read(tmp_path / "whole")
    decisions = [k for k, line in enumerate(lines) if '"decision"' in line]
    assert len(decisions) > 10
    for cut in decisions[::4]:
        folder = tmp_path / f"{cut}"
        folder.mkdir()
        (folder / "ledger.jsonl").write_text("".join(lines[:cut]))
        assert plan(folder).next() is not None
        assert read(folder)[cut] == lines[cut]


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    work(plan(tmp_path))
    before = read(tmp_path)
    more = plan(tmp_path)
    more._epochs = 8.0 * MAX_T  # as the request would say
    work(more)
    assert read(tmp_path)[: len(before)] == before
    assert sum(t.epoch for t in more.ledger) >= 8 * MAX_T


def test_no_more_trials_than_asked_for(tmp_path: Path) -> None:
    one = plan(tmp_path, num_samples=4)
    work(one)
    assert len(one.ledger) == 4
    assert all(t.epoch == MAX_T for t in one.ledger), "the budget would be enough for five"


@pytest.mark.parametrize("known", [True, False])
def test_given_points_come_first(tmp_path: Path, known: bool) -> None:
    ledger = Ledger(Storage(str(tmp_path)), "score", "max")
    params = {"x": 0.25, "n": 3} if known else {}
    one = CurvePlan(
        ledger,
        suggest,
        0,
        MAX_T,
        complete,
        first=[({"x": 0.5, "n": 2}, {}), (params, {"x": 0.25, "n": 3})],
        budget=5,
    )
    work(one)
    given = ledger.trials[1]
    assert (given.config["x"], given.config["n"]) == (0.25, 3)
    assert given.decisions[0]["target"] == (2 if known else MAX_T)
    why = [t.decisions[0]["why"] for t in ledger.trials[:2]]
    assert why == ["default", "given"]
    assert ledger.default is ledger.trials[0]


def _any_order(one: CurvePlan, workers: int, seed: int, most: int | None = None) -> None:
    """Trains on workers of different speed: an epoch of a worker chosen by chance at a time."""
    rng = np.random.default_rng(seed)
    speeds = rng.uniform(0.2, 5, workers)
    places: list[TrialRecord | None] = [None] * workers
    interrupted = one.under_way()
    for _ in range(10_000 if most is None else most):
        for k, place in enumerate(places):
            if place is None:
                places[k] = interrupted.pop() if interrupted else one.next()
        busy = [k for k, place in enumerate(places) if place is not None]
        if not busy:
            return
        k = int(rng.choice(busy, p=speeds[busy] / speeds[busy].sum()))
        trial = places[k]
        assert trial is not None
        epoch = trial.epoch + 1
        if trial.config["n"] == 4:
            one.ledger.end(trial.index, FAILED, "it broke")
            places[k] = None
            continue
        one.ledger.result(trial.index, {"epoch": epoch, "score": value(trial.config, epoch)})
        if epoch == MAX_T:
            one.ledger.end(trial.index, FINISHED)
        if epoch >= (trial.target or 0):
            places[k] = None


def _table(one: CurvePlan) -> list[tuple[Any, ...]]:
    return [(t.config, t.status, [r["score"] for r in t.history]) for t in one.ledger]


def test_deterministic_tables_are_equal_for_any_number_of_workers(tmp_path: Path) -> None:
    tables = []
    for workers, seed in ((1, 0), (2, 1), (4, 2), (4, 3), (9, 4)):
        one = plan(tmp_path / f"{workers}-{seed}", budget=3, deterministic=True)
        _any_order(one, workers, seed)
        assert not one.under_way()
        tables.append(_table(one))
    assert "failed" in {status for _, status, _ in tables[0]}, "the case is worth something"
    assert all(table == tables[0] for table in tables)
    free = plan(tmp_path / "free", budget=3)
    _any_order(free, 4, 2)
    assert _table(free) != tables[0], "without it, timing decides"


def test_a_deterministic_search_that_was_cut_off_ends_with_the_same_table(tmp_path: Path) -> None:
    whole = plan(tmp_path / "whole", budget=3, deterministic=True)
    _any_order(whole, 4, 0)
    for k, most in enumerate((1, 9, 30)):
        folder = tmp_path / f"{k}"
        _any_order(plan(folder, budget=3, deterministic=True), 3, k, most)
        again = plan(folder, budget=3, deterministic=True)
        _any_order(again, 2, 10 + k)
        assert _table(again) == _table(whole)


def test_a_ledger_without_some_of_its_results_is_not_gone_on_with(tmp_path: Path) -> None:
    one = plan(tmp_path, budget=3, deterministic=True)
    _any_order(one, 4, 0)
    waits = f'"index": {one.paused()[0].index}, "event": "result"'
    (tmp_path / "ledger.jsonl").write_text("".join(x for x in read(tmp_path) if waits not in x))
    with pytest.raises(UserError, match="lines of it are missing"):
        plan(tmp_path, budget=3, deterministic=True)
