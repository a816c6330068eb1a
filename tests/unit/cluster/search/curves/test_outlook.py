"""What a search expects of going on: it changes no decision, and can end the search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.cluster.runs.ledger import FINISHED, STOPPED, Ledger
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Trial

MAX_T = 12


def suggest(trial: Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 1)}


def value(config: dict[str, Any], epoch: int) -> float:
    gap = (config["x"] - 0.3) ** 2 + 0.5 * (config["y"] - 0.6) ** 2
    return float(1 - gap - 0.6 * 0.7**epoch)


def complete(fields: dict[str, Any]) -> dict[str, Any]:
    return {"x": 0.5, "y": 0.5, **fields}


def plan(folder: Path, mode: str = "max", **more: Any) -> CurvePlan:
    ledger = Ledger(Storage(str(folder)), "score", mode)
    first: list[Any] = [({"x": 0.5, "y": 0.5}, {})]
    return CurvePlan(ledger, suggest, 0, MAX_T, complete, first=first, **{"budget": 6.0, **more})


def work(one: CurvePlan, sign: float = 1.0) -> CurvePlan:
    """Trains one trial at a time until nothing is left, and ends what is paused."""
    while (trial := next(iter(one.under_way()), None) or one.next()) is not None:
        while trial.epoch < (trial.target or 0):
            epoch = trial.epoch + 1
            score = sign * value(trial.config, epoch)
            one.ledger.result(trial.index, {"epoch": epoch, "score": score})
        if trial.epoch == MAX_T:
            one.ledger.end(trial.index, FINISHED)
    one.settle()
    return one


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == kind]


def test_looking_ahead_changes_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work(plan(tmp_path / "seen"))
    monkeypatch.setattr(CurvePlan, "look", lambda self, **more: None)
    work(plan(tmp_path / "blind"))
    for kind in ("trial", "resume"):
        assert events(tmp_path / "seen", kind) == events(tmp_path / "blind", kind)
    assert events(tmp_path / "seen", "outlook")
    assert not events(tmp_path / "blind", "outlook")


def test_less_is_expected_as_the_search_goes_on(tmp_path: Path) -> None:
    work(plan(tmp_path))
    looks = [event["outlook"] for event in events(tmp_path, "outlook")]
    assert len(looks) > 8
    assert all(look["epochs"] == pytest.approx(7.2) and look["gain"] >= 0 for look in looks)
    gains = [look["gain"] for look in looks]
    assert np.mean(gains[-3:]) < 0.3 * np.mean(gains[:3])
    rows = [look["rows"] for look in looks]
    assert rows == sorted(set(rows)), "one look for what is known"


def test_what_is_expected_follows_from_the_ledger_and_the_metrics_direction(tmp_path: Path) -> None:
    up, down = work(plan(tmp_path / "up")), work(plan(tmp_path / "down", "min"), -1.0)
    assert up.ledger.outlook == down.ledger.outlook
    again = plan(tmp_path / "up")
    asked = [one._search.ask(lambda known: known.gain(7.2)) for one in (up, again)]
    assert asked[0] == asked[1]
    for index, (middle, low, high) in up.finals().items():
        assert down.finals()[index] == pytest.approx((-middle, -high, -low))
        assert low <= middle <= high
        assert low >= max(r["score"] for r in up.ledger.trials[index].history)


def test_bands_hold_where_trials_would_end(tmp_path: Path) -> None:
    one = work(plan(tmp_path))
    finals = one.finals()
    assert set(finals) == {t.index for t in one.ledger if t.epoch < MAX_T}
    inside = [
        low - 1e-9 <= value(one.ledger.trials[index].config, MAX_T) <= high + 1e-9
        for index, (_, low, high) in finals.items()
    ]
    assert np.mean(inside) > 0.8
    reasons = [e["decision"] for e in events(tmp_path, "resume")]
    assert all(r["final"][1] <= r["final"][0] <= r["final"][2] and "best" in r for r in reasons)


def test_a_search_ends_where_too_little_is_expected_and_a_smaller_limit_goes_on(
    tmp_path: Path,
) -> None:
    one = work(plan(tmp_path, until=0.004))
    spent = sum(t.epoch for t in one.ledger)
    assert spent < 6 * MAX_T, "before its budget was used up"
    last = one.ledger.outlook
    assert last is not None
    assert last["gain"] < 0.004 == last["until"]
    assert all(t.status in (FINISHED, STOPPED) for t in one.ledger)

    before = (tmp_path / "ledger.jsonl").read_text()
    same = work(plan(tmp_path, until=0.004))
    assert same.over()
    assert (tmp_path / "ledger.jsonl").read_text() == before, "the same command adds nothing"

    smaller = work(plan(tmp_path, until=1e-12))
    assert sum(t.epoch for t in smaller.ledger) >= 6 * MAX_T
    assert smaller.ledger.outlook is not None
    assert "until" not in smaller.ledger.outlook


def test_a_limit_that_is_given_later_ends_a_search_that_was_cut_off(tmp_path: Path) -> None:
    work(plan(tmp_path / "whole"))
    lines = (tmp_path / "whole" / "ledger.jsonl").read_text().splitlines(keepends=True)
    last = [k for k, line in enumerate(lines) if '"event": "outlook"' in line][5]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "ledger.jsonl").write_text("".join(lines[: last + 1]))
    cut = plan(tmp_path / "cut", until=1.0)
    assert cut.over()
    cut.settle()
    assert not cut.ledger.unfinished()
    assert cut.ledger.outlook is not None
    assert cut.ledger.outlook["until"] == 1.0
