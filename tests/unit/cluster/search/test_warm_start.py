"""A search that starts from earlier ones: what it takes over, what it refuses, how it resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.cluster.runs.experiment import EXPERIMENT, write_experiment
from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.proposers import build_proposer
from raysweep.cluster.search.warm_start import WarmStart, earlier_results, recall
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Trial

TASK = "matrix_factorization"


def request(**fields: Any) -> SearchRequest:
    return SearchRequest(**{"task": TASK, "spaces": ("l2",), **fields}).checked()


def earlier_run(folder: Path, fingerprint: str = "data", **fields: Any) -> SearchRequest:
    """A run whose error grows with the distance of embedding_l2 from 0.2."""
    asked = request(**fields)
    storage = Storage(folder)
    write_experiment(storage, asked, fingerprint, "ratings")
    ledger = Ledger(storage, asked.metric, asked.mode)
    for number, l2 in enumerate((0.13, 0.03, 0.19, 0.4, 0.21)):
        params = {"embedding_l2": l2, "bias_l2": 0.01} if number else {}
        ledger.add(params, asked.config(params).to_dict())
        ledger.result(number, {"epoch": 1, asked.metric: 1.0 + abs(l2 - 0.2)})
        ledger.end(number, STOPPED if number == 3 else FINISHED)
    ledger.add({"embedding_l2": 0.2, "bias_l2": 0.02}, {"embedding_l2": 0.2})
    ledger.end(5, FAILED, "it failed")
    return asked


def started(folder: Path, results: Any, asked: SearchRequest) -> LedgerSearcher:
    ledger = Ledger(Storage(folder), asked.metric, asked.mode)
    inner = build_proposer(asked.searcher, asked.suggest(), asked.seed, asked.mode)
    proposer = WarmStart(inner, asked.suggest(), results, asked.mode)
    complete = lambda fields: asked.config(fields).to_dict()  # noqa: E731
    searcher = LedgerSearcher(ledger, proposer, complete, 30)
    searcher.limit = 100
    return searcher


def run(searcher: LedgerSearcher, asked: SearchRequest, num: int) -> list[float]:
    tried = []
    for _ in range(num):
        config = searcher.suggest("id")
        assert isinstance(config, dict)
        index = config["trial_index"]
        value = 1.0 + abs(config["embedding_l2"] - 0.2)
        searcher.ledger.result(index, {"epoch": 1, asked.metric: value})
        searcher.ledger.end(index, FINISHED)
        searcher.active -= 1
        tried.append(config["embedding_l2"])
    return tried


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_the_best_earlier_configurations_follow_the_default(tmp_path: Path, searcher: str) -> None:
    earlier_run(tmp_path / "one")
    asked = request(searcher=searcher, warm_start=("one",))
    results, notes = earlier_results(asked, Storage(tmp_path / "two"), "data")
    assert [r["trial"] for r in results] == [0, 1, 2, 3, 4]
    assert notes == ["starting from 5 trials of one"]
    tried = run(started(tmp_path / "two", results, asked), asked, 3)
    assert tried == pytest.approx([0.13, 0.19, 0.21])


def test_the_default_is_not_tried_twice(tmp_path: Path) -> None:
    asked = request(warm_start=("one",))
    default = asked.config({}).to_dict()
    params = [{"embedding_l2": l2, "bias_l2": default["bias_l2"]} for l2 in (0.13, 0.3, 0.05)]
    assert default["embedding_l2"] == 0.13
    results = [
        {"params": p, "value": float(k), "status": FINISHED, "epochs": 1}
        for k, p in enumerate(params)
    ]
    assert run(started(tmp_path, results, asked), asked, 3) == [0.13, 0.3, 0.05]


def test_tpe_looks_where_earlier_trials_were_good(tmp_path: Path) -> None:
    asked = request(warm_start=("one",))
    results = [
        {"params": {"embedding_l2": l2, "bias_l2": 0.01}, "value": 1 + abs(l2 - 0.2)}
        | {"status": FINISHED, "epochs": 1}
        for l2 in [0.02 * 1.08**k for k in range(41)]
    ]
    with_them = run(started(tmp_path / "a", results, asked), asked, 12)[4:]
    without = run(started(tmp_path / "b", [], asked), asked, 12)[4:]
    away = [sum(abs(l2 - 0.2) for l2 in tried) / len(tried) for tried in (with_them, without)]
    assert away[0] < 0.5 * away[1]


def test_a_resumed_search_goes_on_alike_without_the_earlier_run(tmp_path: Path) -> None:
    earlier_run(tmp_path / "one")
    asked = request(warm_start=("one",))
    storage = Storage(tmp_path / "two")
    results, _ = earlier_results(asked, storage, "data")
    write_experiment(storage, asked, "data", "ratings", results)
    whole = run(started(tmp_path / "whole", results, asked), asked, 10)
    for file in sorted((tmp_path / "one").iterdir()):
        file.unlink()
    first = run(started(tmp_path / "two", results, asked), asked, 6)
    again, notes = earlier_results(asked, storage, "data")
    assert (again, notes) == (results, [])
    assert first + run(started(tmp_path / "two", again, asked), asked, 4) == whole


def test_fields_that_were_not_searched_then_count_with_the_value_they_had(tmp_path: Path) -> None:
    earlier_run(tmp_path / "one", settings={"num_factors": 32})
    asked = request(spaces=("l2", "embedding_size"), warm_start=("one",))
    results, notes = earlier_results(asked, Storage(tmp_path / "two"), "data")
    assert {r["params"]["num_factors"] for r in results} == {32}
    assert len(notes) == 1


def test_what_cannot_be_known_is_left_out() -> None:
    def space(trial: Trial) -> dict[str, Any]:
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.suggest_categorical("kind", ["p", "q"]) == "p":
            return {"x": x, "n": trial.suggest_int("n", 1, 9)}
        return {"x": x}

    assert recall(space, {"x": 0.5, "kind": "q"})[0::2] == ({"x": 0.5, "kind": "q"}, {"x": 0.5})
    assert recall(space, {"x": 0.5, "n": 3})[0::2] == ({"x": 0.5}, None)
    assert recall(space, {"x": 7.0, "kind": "p", "n": 3})[0::2] == ({"kind": "p", "n": 3}, None)
    assert recall(space, {"x": True, "kind": "z"})[0::2] == ({}, None)


def test_other_data_and_settings_are_noted(tmp_path: Path) -> None:
    earlier_run(tmp_path / "one", settings={"epochs": 4})
    asked = request(warm_start=("one",))
    _, notes = earlier_results(asked, Storage(tmp_path / "two"), "other data")
    assert "one was made with other data or another split" in notes[1]
    assert notes[2] == "one had other settings: epochs: 4 there, 12 now"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": "ratings_net"}, ["trained matrix_factorization", "ratings_net"]),
        ({"metric": "val_mae"}, ["judged by val_rmse", "--metric val_rmse"]),
        ({"warm_start": ("none",)}, ["no run is called 'none'"]),
    ],
)
def test_runs_that_say_nothing_about_the_search_are_refused(
    tmp_path: Path, fields: dict[str, Any], words: list[str]
) -> None:
    earlier_run(tmp_path / "one")
    asked = request(**{"warm_start": ("one",), **fields})
    storage = Storage(tmp_path / "two")
    with pytest.raises(UserError) as error:
        earlier_results(asked, storage, "data")
    assert all(word in str(error.value) for word in words)
    assert not storage.exists(EXPERIMENT)


def test_a_grid_is_not_started_warm() -> None:
    with pytest.raises(UserError, match="--searcher tpe"):
        request(searcher="grid", warm_start=("one",))


def test_runs_from_before_are_still_recognised(tmp_path: Path) -> None:
    asked = request()
    write_experiment(Storage(tmp_path), asked, "data", "ratings")
    record = yaml.safe_load((tmp_path / EXPERIMENT).read_text())
    assert "warm_start" not in {*record, *record["request"]}
    assert request(warm_start=("one",)).default_name() != asked.default_name()
