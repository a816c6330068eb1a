"""What earlier runs' curves are worth to a search: on made-up curves, and from ledgers on disk."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.curves.earlier import CURVES, earlier_curves, trust_notes
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.cluster.search.curves.search import CurveSearch
from raysweep.cluster.search.curves.transfer import (
    EarlierRun,
    EarlierTrial,
    Sources,
    adopt,
    dump,
    load,
    reached,
)
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Trial

MAX_T = 27
NAMES = ("x", "y", "z")


def suggest(trial: Trial) -> dict[str, Any]:
    return {name: trial.suggest_float(name, 0, 1) for name in NAMES}


def curve(fields: dict[str, Any], epoch: int, shift: float = 0.0) -> float:
    """Climbs to a height that is best at (0.3, 0.7, 0.2), moved by `shift`."""
    x, y, z = (fields[n] - b - shift for n, b in zip(NAMES, (0.3, 0.7, 0.2), strict=True))
    return float((1 - x * x - y * y - 0.3 * z * z) * (1 - 0.4**epoch))


def earlier(
    sign: float = 1.0, shift: float = 0.05, size: int = 40, mode: str = "max"
) -> EarlierRun:
    """A run of random configurations that trained for 6, 18 or 52 epochs."""
    rng, trials = np.random.default_rng(3), []
    for k in range(size):
        params = dict(zip(NAMES, map(float, rng.random(3)), strict=True))
        history = [
            {"epoch": e, "m": sign * curve(params, e, shift)} for e in range(1, (6, 18, 52)[k % 3])
        ]
        trials.append(EarlierTrial(k, params, reached(history, "m", mode, 52)))
    return EarlierRun("then", 52, trials)


def build(seed: int, *runs: EarlierRun) -> CurveSearch:
    encoder = Encoder(suggest, seed)
    sources = Sources(runs, encoder, "max") if runs else None
    return CurveSearch(encoder, seed, "max", MAX_T, sources=sources)


def search(one: CurveSearch, budget: float) -> tuple[float, list[Any]]:
    """The best value of so many whole trainings, and the decisions."""
    fields: list[dict[str, Any]] = []
    epochs: list[int] = []
    decisions, best = [], -math.inf
    while sum(epochs) < budget * MAX_T and (decision := one.decide()) is not None:
        decisions.append(decision)
        trial = decision.trial
        if trial is None:
            assert decision.proposal is not None
            trial = len(fields)
            fields.append(decision.proposal.fields)
            epochs.append(0)
            one.start(trial, decision.proposal.params, decision.theta)
        else:
            one.resume(trial, decision.theta)
        while epochs[trial] < decision.target:
            epochs[trial] += 1
            value = curve(fields[trial], epochs[trial])
            one.report(trial, epochs[trial], value)
            best = max(best, value)
    return best, decisions


def regret(budget: float, *runs: EarlierRun, seeds: int = 4) -> float:
    top = curve({"x": 0.3, "y": 0.7, "z": 0.2}, MAX_T)
    return float(np.mean([top - search(build(s, *runs), budget)[0] for s in range(seeds)]))


def test_a_similar_run_halves_what_is_missing_after_one_training() -> None:
    assert regret(1, earlier()) < 0.5 * regret(1)


def test_a_run_that_misleads_loses_its_weight_and_costs_little() -> None:
    misleading = earlier(sign=-1.0)
    weights = [
        next(d.trust[0] for d in reversed(search(build(0, run), 2)[1]) if d.trust)
        for run in (misleading, earlier())
    ]
    assert weights[0] < 0.2 < 0.5 < weights[1]
    assert regret(2, misleading, seeds=3) < regret(2, seeds=3) + 0.005


def test_the_first_trials_are_what_earlier_runs_liked_and_unlike_one_another() -> None:
    one = build(0, earlier(shift=0.0))
    decisions = search(one, 0.3)[1]
    first = [d for d in decisions if d.why == "earlier"]
    assert len(first) == 3
    places = np.array([[d.proposal.fields[n] for n in NAMES] for d in first])
    assert all(curve(d.proposal.fields, MAX_T) > 0.8 for d in first)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(3)
    assert apart.min() > 0.2


def test_guesses_follow_the_share_of_epochs_whatever_the_number() -> None:
    encoder = Encoder(suggest)
    good, bad = ({"x": 0.3, "y": 0.7, "z": 0.2}, {"x": 1.0, "y": 0.0, "z": 1.0})
    sources = Sources([earlier(shift=0.0)], encoder, "max")
    for max_t in (9, 27, 200):
        by_epoch = sources.guesses(encoder.features(good), max_t)
        assert by_epoch[1][0] < by_epoch[max_t][0] - 0.5
        between = next(e for e in range(1, max_t) if e not in by_epoch)
        assert by_epoch[1][0] < by_epoch[between][0] < by_epoch[max_t][0]
    at_end = sources.at_end(np.array([encoder.features(good), encoder.features(bad)]))
    assert at_end.shape == (2, 1)
    assert at_end[0, 0] > at_end[1, 0] + 1


def test_small_values_may_be_the_good_ones() -> None:
    encoder = Encoder(suggest)
    asked = encoder.many(np.eye(3))
    up = Sources([earlier()], encoder, "max").at_end(asked)
    down = Sources([earlier(sign=-1.0, mode="min")], encoder, "min").at_end(asked)
    assert np.array_equal(up, down)
    history = [{"epoch": 1, "m": 2.0}, {"epoch": 2, "m": 3.0}, {"epoch": 3, "m": math.nan}]
    assert reached(history, "m", "min", 52) == {2: 2.0, 3: 2.0}
    assert reached(history, "m", "max", 52) == {2: 3.0, 3: 3.0}
    assert reached([{"epoch": 2, "m": math.inf}], "m", "min", 52) == {2: None}
    assert reached([], "m", "min", 52) == {}


def test_a_configuration_is_brought_into_the_space() -> None:
    def space(trial: Trial) -> dict[str, Any]:
        fields = {
            "rate": trial.suggest_float("rate", 1e-3, 1e-1, log=True),
            "size": trial.suggest_int("size", 16, 64, step=16),
            "kind": trial.suggest_categorical("kind", ["p", "q"]),
        }
        return fields | ({"n": trial.suggest_int("n", 1, 9)} if fields["kind"] == "q" else {})

    then = {"rate": 0.5, "size": 41, "kind": "q", "n": 0, "other": 3}
    assert adopt(space, then) == {"rate": 0.1, "size": 48, "kind": "q", "n": 1}
    assert adopt(space, {"rate": 0.01, "kind": "z", "n": 3}) == {"rate": 0.01}
    assert adopt(space, {"size": True, "n": 3}) == {}
    encoder = Encoder(space)
    runs = [EarlierRun("then", 9, [EarlierTrial(0, adopt(space, then), {1: 1.0, 9: 2.0})])]
    assert Sources(runs, encoder, "max").at_end(encoder.many(np.full((4, 4), 0.3))).shape == (4, 1)


def test_what_is_written_down_comes_back() -> None:
    run = earlier(size=6).fitted(Encoder(suggest), "max")
    assert load(dump([run, run])) == [run, run]
    assert load("") == []


# From ledgers on disk.

TASK = "matrix_factorization"


def request(**fields: Any) -> SearchRequest:
    asked = {"task": TASK, "spaces": ("l2",), "searcher": "curves", "budget": 3.0}
    return SearchRequest(**{**asked, **fields}).checked()


def made_run(folder: Path, size: int = 12, epochs: int = 12) -> None:
    """A run by random search, whose error is least at embedding_l2 = 0.2."""
    asked = request(searcher="random", budget=None, num_samples=12, settings={"epochs": epochs})
    write_experiment(Storage(folder), asked, "data", "ratings")
    ledger, rng = Ledger(Storage(folder), asked.metric, asked.mode), np.random.default_rng(0)
    for k in range(size):
        l2 = float(10 ** rng.uniform(-2, 0))
        params = {"embedding_l2": l2, "bias_l2": 0.01} if k else {}
        ledger.add(params, asked.config(params).to_dict())
        for epoch in range(1, (epochs if k % 3 == 0 else epochs // 4) + 1):
            value = 1 + abs(math.log(l2 / 0.2)) + 1 / epoch
            ledger.result(k, {"epoch": epoch, asked.metric: value})
        ledger.end(k, FINISHED if k % 3 == 0 else STOPPED)
    ledger.add({"embedding_l2": 0.1, "bias_l2": 0.01}, {"embedding_l2": 0.1})
    ledger.end(size, FAILED, "it failed")


def planned(folder: Path, runs: list[EarlierRun], asked: SearchRequest) -> CurvePlan:
    return CurvePlan(
        Ledger(Storage(folder), asked.metric, asked.mode),
        asked.suggest(),
        asked.seed,
        asked.config({}).epochs,
        asked.complete,
        budget=3,
        earlier=runs,
    )


def train(plan: CurvePlan, until: Callable[[CurvePlan], bool] = lambda plan: False) -> list[str]:
    while not until(plan) and (trial := plan.next()) is not None:
        assert trial.target is not None
        for epoch in range(trial.epoch + 1, trial.target + 1):
            value = 1 + abs(math.log(trial.config["embedding_l2"] / 0.2)) + 1 / epoch
            plan.ledger.result(trial.index, {"epoch": epoch, plan.ledger.metric: value})
    return [str((t.params, t.epoch, t.decisions)) for t in plan.ledger]


def test_a_resumed_search_goes_on_alike_without_the_earlier_run(tmp_path: Path) -> None:
    made_run(tmp_path / "one")
    asked, storage = request(warm_start=("one",)), Storage(tmp_path / "two")
    runs, notes = earlier_curves(asked, storage, "data")
    assert notes[0] == "warm start: 12 trials' curves of one enter the model"
    assert runs[0].theta is not None
    write_experiment(storage, asked, "data", "ratings")
    whole = train(planned(tmp_path / "whole", runs, asked))
    train(planned(tmp_path / "two", runs, asked), lambda plan: len(plan.ledger) == 5)
    shutil.rmtree(tmp_path / "one")
    again, notes = earlier_curves(asked, storage, "data")
    assert (again, notes) == (runs, [])
    last = planned(tmp_path / "two", again, asked)
    assert train(last) == whole
    assert "why': 'earlier'" in whole[0]
    (line,) = trust_notes(last.ledger, again)
    assert line.startswith("warm start: weight in the end (1 at first, 0: no use) ")
    assert line.endswith(" for one")
    assert trust_notes(last.ledger, []) == []


def test_spaces_may_differ_in_part(tmp_path: Path) -> None:
    made_run(tmp_path / "one", epochs=8)
    asked = request(spaces=("embedding_size", "l2"), warm_start=("one",))
    runs, notes = earlier_curves(asked, Storage(tmp_path / "two"), "other data")
    first, second = runs[0].trials[:2]
    assert runs[0].max_t == 8
    assert first.params["embedding_l2"] == asked.complete({})["embedding_l2"]
    assert {t.params["num_factors"] for t in runs[0].trials} == {64}
    assert (set(first.reached), set(second.reached)) == ({2, 4, 8}, {2})
    assert any("other data" in note for note in notes)
    other = request(spaces=("embedding_size",), warm_start=("one",))
    assert (
        "embedding_l2"
        not in earlier_curves(other, Storage(tmp_path / "x"), "")[0][0].trials[1].params
    )


def test_runs_of_another_metric_or_without_results_are_refused(tmp_path: Path) -> None:
    made_run(tmp_path / "one")
    made_run(tmp_path / "none", size=0)
    for name, more, words in (
        ("one", {"metric": "val_mae"}, "--metric val_rmse"),
        ("none", {}, "no result for any field"),
    ):
        storage = Storage(tmp_path / "two")
        with pytest.raises(UserError, match=words):
            earlier_curves(request(warm_start=(name,), **more), storage, "data")
        assert not storage.exists(CURVES)
