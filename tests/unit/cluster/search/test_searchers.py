"""Searchers: resumed anywhere they go on alike, repeat nothing, and learn from results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from raysweep.cluster.runs.ledger import FAILED, FINISHED, STOPPED, Ledger
from raysweep.cluster.runs.request import SEARCHERS
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.proposers import ListProposer, build_proposer, longest_first
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Suggest, Trial
from raysweep.trainables.trial_files import INDEX, member_configs

DEFAULT = {"x": 0.9, "y": 0.9, "a": 1, "b": "p"}


def wide(trial: Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", -1.0, 1.0), "y": trial.suggest_float("y", -1.0, 1.0)}


def small(trial: Trial) -> dict[str, Any]:
    """Six points, the default (1, p) among them."""
    return {
        "a": trial.suggest_categorical("a", [1, 2, 3]),
        "b": trial.suggest_categorical("b", ["p", "q"]),
    }


def branching(trial: Trial) -> dict[str, Any]:
    if trial.suggest_categorical("a", [1, 2]) == 1:
        return {"a": 1, "x": trial.suggest_float("x", 0.0, 1.0), "y": 0.0}
    return {"a": 2, "x": 0.0, "y": trial.suggest_float("y", 0.0, 1.0)}


def complete(fields: dict[str, Any]) -> dict[str, Any]:
    return {**DEFAULT, **fields}


def loss(config: dict[str, Any]) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["y"] + 0.2) ** 2)


class Search:
    """A search in a folder, run without Ray: every trial is one result."""

    def __init__(
        self,
        folder: Path,
        name: str = "random",
        suggest: Suggest = wide,
        num_samples: int | None = 12,
        seed: int = 0,
        mode: str = "min",
    ) -> None:
        self.ledger = Ledger(Storage(folder), "val", mode)
        proposer = build_proposer(name, suggest, seed, mode)
        self.searcher = LedgerSearcher(self.ledger, proposer, complete, num_samples)
        self.searcher.limit = 100
        self.sign = 1.0 if mode == "min" else -1.0

    def suggest(self) -> dict[str, Any] | None:
        """The next configuration, or None at the end."""
        config = self.searcher.suggest("id")
        if config == LedgerSearcher.FINISHED:
            return None
        assert isinstance(config, dict)
        return config

    def finish(self, config: dict[str, Any]) -> None:
        index = config[INDEX]
        self.ledger.result(index, {"epoch": 1, "val": self.sign * loss(config)})
        self.ledger.end(index, FINISHED)
        self.searcher.active -= 1

    def run(self, num: int | None = None) -> list[dict[str, Any]]:
        """Runs that many trials, or all."""
        done: list[dict[str, Any]] = []
        while (num is None or len(done) < num) and (config := self.suggest()) is not None:
            self.finish(config)
            done.append(config)
        return done


def configs(search: Search) -> list[dict[str, Any]]:
    return [t.config for t in search.ledger]


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_first_trial_is_the_default(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path, name)
    assert search.suggest() == {**DEFAULT, INDEX: 0}
    assert search.ledger.trials[0].params == {}


@pytest.mark.parametrize("name", SEARCHERS)
def test_what_is_suggested_is_in_the_ledger_first(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path, name)
    for index in range(4):
        config = search.suggest()
        assert config is not None
        assert config.pop(INDEX) == index
        assert Ledger(Storage(tmp_path), "val", "min").trials[index].config == config


@pytest.mark.parametrize("name", SEARCHERS)
@pytest.mark.parametrize("num_samples", [1, 7])
def test_a_search_ends_after_num_samples(tmp_path: Path, name: str, num_samples: int) -> None:
    search = Search(tmp_path, name, num_samples=num_samples)
    assert search.searcher.remaining() == num_samples
    assert len(search.run()) == num_samples
    assert search.searcher.remaining() == 0
    assert search.suggest() is None


@pytest.mark.parametrize("suggest", [wide, branching])
@pytest.mark.parametrize("name", SEARCHERS)
def test_a_search_that_broke_off_goes_on_as_if_it_had_not(
    tmp_path: Path, name: str, suggest: Suggest
) -> None:
    num = 10 if suggest is branching else 24
    straight = Search(tmp_path / "straight", name, suggest, num)
    straight.run()
    for broken_at in (1, 5, 14):
        folder = tmp_path / str(broken_at)
        Search(folder, name, suggest, num).run(broken_at)
        again = Search(folder, name, suggest, num)
        again.run()
        assert configs(again) == configs(straight), broken_at


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_larger_num_samples_extends_the_same_search(tmp_path: Path, name: str) -> None:
    Search(tmp_path / "a", name, num_samples=8).run()
    extended = Search(tmp_path / "a", name, num_samples=16)
    assert extended.searcher.remaining() == 8
    assert len(extended.run()) == 8
    straight = Search(tmp_path / "b", name, num_samples=16)
    straight.run()
    assert configs(extended) == configs(straight)


@pytest.mark.parametrize("name", SEARCHERS)
def test_interrupted_trials_come_first_and_keep_their_index(tmp_path: Path, name: str) -> None:
    first = Search(tmp_path, name)
    handed = [first.suggest() for _ in range(5)]
    for config in (handed[1], handed[3]):
        assert config is not None
        first.finish(config)
    again = Search(tmp_path, name)
    assert again.searcher.remaining() == 12 - 2
    assert [again.suggest() for _ in range(3)] == [handed[0], handed[2], handed[4]]
    following = again.suggest()
    assert following is not None
    assert following[INDEX] == 5


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_small_space_is_used_up_without_repeating(tmp_path: Path, name: str) -> None:
    search = Search(tmp_path, name, small, num_samples=50)
    done = search.run()
    assert sorted((c["a"], c["b"]) for c in done) == [(a, b) for a in (1, 2, 3) for b in "pq"]
    assert Search(tmp_path, name, small, num_samples=50).run() == []


def test_no_more_trials_are_handed_out_than_have_a_place(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.searcher.limit = 2
    first = search.suggest()
    assert first is not None
    search.suggest()
    assert search.searcher.suggest("id") is None
    assert len(search.ledger) == 2
    search.finish(first)
    assert (search.suggest() or {})[INDEX] == 2


def test_different_seeds_search_differently(tmp_path: Path) -> None:
    one, other = (Search(tmp_path / str(s), seed=s) for s in (0, 1))
    assert one.run()[1:] != other.run()[1:]


def test_a_grid_is_whole_and_has_every_point_once(tmp_path: Path) -> None:
    search = Search(tmp_path, "grid", wide, num_samples=None)
    assert search.searcher.remaining() == 26
    search.run(9)
    search = Search(tmp_path, "grid", wide, num_samples=None)
    assert search.searcher.remaining() == 17
    search.run()
    ends = [-1.0, -0.5, 0.0, 0.5, 1.0]
    points = [(c["x"], c["y"]) for c in configs(search)]
    assert points[0] == (0.9, 0.9)
    assert sorted(points[1:]) == [(x, y) for x in ends for y in ends]


def test_a_grid_with_the_default_in_it_runs_it_once(tmp_path: Path) -> None:
    search = Search(tmp_path, "grid", small, num_samples=None)
    assert search.searcher.remaining() == 6
    assert len(search.run()) == 6


def test_a_list_of_points_is_run_in_order(tmp_path: Path) -> None:
    ledger = Ledger(Storage(tmp_path), "val", "min")
    points = ListProposer([({}, {"x": v}) for v in (0.1, 0.2, 0.1)])
    searcher = LedgerSearcher(ledger, points, complete, None)
    searcher.limit = 10
    assert searcher.remaining() == 3
    suggested = [searcher.suggest("id") for _ in range(4)]
    assert [s["x"] for s in suggested[:3] if isinstance(s, dict)] == [0.9, 0.1, 0.2]
    assert suggested[3] is None, "a trial under way may have to be suggested again"
    searcher.again(ledger.trials[1])
    again = searcher.suggest("id")
    assert isinstance(again, dict)
    assert (again["x"], again[INDEX]) == (0.1, 1)
    for index in range(3):
        ledger.end(index, FINISHED)
    assert searcher.suggest("id") == LedgerSearcher.FINISHED


@pytest.mark.parametrize("name", ["random", "grid"])
def test_the_longest_trials_start_first_and_are_the_same_ones(tmp_path: Path, name: str) -> None:
    """Also where a search was broken off after three trials, and where it is extended."""

    def search(folder: str, num_samples: int) -> Search:
        made = Search(tmp_path / folder, name, small, num_samples)
        proposer = build_proposer(name, small, 0, "min")
        points = longest_first(proposer, complete, lambda fields: fields["a"], num_samples)
        made.searcher = LedgerSearcher(made.ledger, points, complete, num_samples)
        made.searcher.limit = 100
        return made

    plain = Search(tmp_path / "plain", name, small, 5).run()
    ordered = search("ordered", 5).run()
    costs = [config["a"] for config in ordered[1:]]
    assert costs == sorted(costs, reverse=True) != [config["a"] for config in plain[1:]]
    assert {(c["a"], c["b"]) for c in ordered} == {(c["a"], c["b"]) for c in plain}
    search("broken", 5).run(3)
    search("broken", 5).run()
    assert configs(search("broken", 5)) == configs(search("ordered", 5))
    assert len(search("ordered", 6).run()) == 1


def late_loss(folder: Path, name: str, mode: str = "min", broken_at: int | None = None) -> float:
    """The mean loss of the last 10 of 40 trials, over 4 seeds; chance has about 0.8."""
    losses = []
    for seed in range(4):
        where = folder / f"{name}{seed}"
        if broken_at is not None:
            Search(where, name, wide, 40, seed, mode).run(broken_at)
        search = Search(where, name, wide, 40, seed, mode)
        search.run()
        losses += [abs(t.history[0]["val"]) for t in search.ledger.trials[-10:]]
    return mean(losses)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_tpe_ends_up_nearer_to_the_optimum_than_chance(tmp_path: Path, mode: str) -> None:
    assert late_loss(tmp_path, "tpe", mode) < 0.6 * late_loss(tmp_path, "random", mode)


def test_tpe_goes_on_learning_after_a_restart(tmp_path: Path) -> None:
    assert late_loss(tmp_path, "tpe", broken_at=20) < 0.6 * late_loss(tmp_path, "random")


Told = list[tuple[TrialState | None, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What Optuna is told: (state, value), in order."""
    calls: Told = []
    tell: Callable[..., Any] = optuna.Study.tell

    def spy(self: Any, trial: Any, values: Any = None, state: Any = None, **rest: Any) -> Any:
        calls.append((state, values))
        return tell(self, trial, values, state, **rest)

    monkeypatch.setattr(optuna.Study, "tell", spy)
    return calls


@pytest.mark.parametrize("restart", [False, True])
def test_tpe_is_told_of_finished_stopped_and_failed_trials(
    tmp_path: Path, told: Told, restart: bool
) -> None:
    search = Search(tmp_path, "tpe")
    handed = [search.suggest() for _ in range(6)]
    ledger = search.ledger
    for index in (1, 2, 3):
        ledger.result(index, {"epoch": 1, "val": 7.0 + index})
    ledger.end(1, FINISHED)
    ledger.end(2, STOPPED)
    ledger.end(3, FAILED, "no")
    ledger.end(4, FAILED, "no")
    assert handed[5] is not None
    assert told == []
    if restart:
        search = Search(tmp_path, "tpe")
        assert search.suggest() == handed[0]
        assert search.suggest() == handed[5]
    search.suggest()
    assert told == [
        (None, 8.0),
        (TrialState.PRUNED, None),
        (TrialState.FAIL, None),
        (TrialState.FAIL, None),
    ]
    search.suggest()
    assert len(told) == 4


def test_a_stopped_trials_value_is_reported_to_tpe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[tuple[float, int]] = []
    report = optuna.Trial.report

    def spy(self: Any, value: float, step: int) -> None:
        reports.append((value, step))
        report(self, value, step)

    monkeypatch.setattr(optuna.Trial, "report", spy)
    search = Search(tmp_path, "tpe")
    for _ in range(2):
        search.suggest()
    for epoch, value in [(1, 2.0), (2, 1.5), (3, 1.7)]:
        search.ledger.result(1, {"epoch": epoch, "val": value})
    search.ledger.end(1, STOPPED)
    search.suggest()
    assert reports == [(1.5, 3)]


def test_tpe_spreads_out_while_trials_run(tmp_path: Path) -> None:
    search = Search(tmp_path, "tpe", num_samples=40)
    search.run(15)
    batch = [search.suggest() for _ in range(8)]
    points = {(c["x"], c["y"]) for c in batch if c}
    assert len(points) == 8


def drawn(search: Search) -> list[list[int]]:
    """The packs that a search hands out, by the trials' indexes."""
    packs = []
    while isinstance(config := search.searcher.suggest("id"), dict):
        packs.append([each[INDEX] for each in member_configs(config)])
    return packs


def test_packs_hold_what_belongs_together_and_every_trial_once(tmp_path: Path) -> None:
    search = Search(tmp_path, suggest=branching, num_samples=15)
    search.searcher.pack_size = 4
    search.searcher.pack_key = lambda config: str(config["a"])
    packs = drawn(search)
    assert sorted(i for pack in packs for i in pack) == list(range(15))
    assert max(map(len, packs)) > 1
    for pack in packs:
        assert len(pack) <= 4
        assert len({search.ledger.trials[i].config["a"] for i in pack}) == 1
    single = Search(tmp_path / "single", suggest=branching, num_samples=15)
    single.run()
    assert configs(single) == configs(search)


def test_interrupted_packs_are_formed_anew(tmp_path: Path) -> None:
    first = Search(tmp_path, num_samples=6)
    first.searcher.pack_size = 4
    first.searcher.pack_key = lambda config: "same"
    config = first.suggest()
    assert config is not None
    first.ledger.end(2, FINISHED)
    again = Search(tmp_path, num_samples=6)
    again.searcher.pack_size = 4
    again.searcher.pack_key = lambda config: "same"
    assert drawn(again) == [[0, 1, 3, 4], [5]]
