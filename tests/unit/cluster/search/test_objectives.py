"""Searches with several objectives and constraints: replayed alike, refusals passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import GPSampler, RandomSampler, TPESampler

from raysweep.cluster.runs.ledger import FINISHED, STOPPED, Ledger
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.objectives.proposer import ParetoProposer
from raysweep.cluster.search.proposers import Proposer, RandomProposer, TPEProposer
from raysweep.core.objectives import Constraint, Objective
from raysweep.core.storage import Storage
from raysweep.search_spaces.space import Suggest, Trial
from raysweep.trainables.trial_files import INDEX

OBJECTIVES = (Objective("val", "min"), Objective("size", "min"))
DEFAULT = {"x": 0.9, "y": 0.9, "kind": "a"}


def space(trial: Trial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", 0.0, 1.0), "y": trial.suggest_float("y", 0.0, 1.0)}


def branching(trial: Trial) -> dict[str, Any]:
    """`y` is asked for in one branch only."""
    kind = trial.suggest_categorical("kind", ["a", "b"])
    fields = {"kind": kind, "x": trial.suggest_float("x", 0.0, 1.0)}
    return {**fields, "y": trial.suggest_float("y", 0.0, 1.0)} if kind == "b" else fields


def result(config: dict[str, Any]) -> dict[str, Any]:
    """Two losses that cannot both be small: x near 0 is small, x near 1 is good."""
    return {"epoch": 1, "val": (1 - config["x"]) ** 2 + config["y"], "size": config["x"]}


class Search:
    """A search in a folder, run without Ray: every trial is one result."""

    def __init__(
        self,
        folder: Path,
        proposer: Proposer,
        num_samples: int,
        objectives: tuple[Objective, ...] = OBJECTIVES,
        constraints: tuple[Constraint, ...] = (),
        **options: Any,
    ) -> None:
        self.ledger = Ledger(
            Storage(folder), "val", "min", objectives=objectives, constraints=constraints
        )
        self.searcher = LedgerSearcher(
            self.ledger, proposer, lambda fields: {**DEFAULT, **fields}, num_samples, **options
        )
        self.searcher.limit = 100

    def run(self, num: int = 1000) -> list[dict[str, Any]]:
        done = 0
        while done < num and isinstance(config := self.searcher.suggest("id"), dict):
            index, done = config[INDEX], done + 1
            self.ledger.result(index, result(config))
            kept = self.ledger.keeps_to_constraints(self.ledger.trials[index])
            # Every third one was stopped by a scheduler; those that broke a constraint always are.
            self.ledger.end(index, FINISHED if kept and index % 3 else STOPPED)
            self.searcher.active -= 1
        return [t.config for t in self.ledger]


def several(suggest: Suggest = space, seed: int = 0) -> ParetoProposer:
    return ParetoProposer(suggest, seed, "min", "min")


@pytest.mark.parametrize("suggest", [space, branching])
def test_a_search_that_broke_off_goes_on_as_if_it_had_not(tmp_path: Path, suggest: Suggest) -> None:
    limits = (Constraint("size", "<=", 0.95),)
    straight = Search(tmp_path / "a", several(suggest), 15, constraints=limits).run()
    folder = tmp_path / "b"
    Search(folder, several(suggest), 15, constraints=limits).run(13)
    assert Search(folder, several(suggest), 15, constraints=limits).run() == straight


def test_proposals_come_to_lie_where_both_objectives_are_good(tmp_path: Path) -> None:
    """Every x is on the front, with y = 0; chance has a mean y of a half."""
    late = Search(tmp_path, several(), 21).run()[-6:]
    assert sum(config["y"] for config in late) / len(late) < 0.1
    assert max(c["x"] for c in late) - min(c["x"] for c in late) > 0.3


def test_what_breaks_a_constraint_is_told_as_infeasible(tmp_path: Path) -> None:
    """A search for small `val` alone wants x near 1, which the constraint forbids."""
    limits = (Constraint("size", "<=", 0.4),)
    one = (Objective("val", "min"),)
    search = Search(tmp_path / "one", TPEProposer(space, 0, "min"), 40, one, limits)
    late = search.run()[-15:]
    free = Search(tmp_path / "free", TPEProposer(space, 0, "min"), 40, one).run()[-15:]
    assert sum(c["x"] <= 0.4 for c in late) > sum(c["x"] <= 0.4 for c in free) + 5
    trial = next(t for t in search.ledger if not search.ledger.feasible(t))
    told = search.searcher._proposer._study.get_trials()  # type: ignore[attr-defined]
    excesses = [t.constraints for t in told if t.params == trial.params]
    assert excesses == ([search.ledger.excesses(trial.history[0])] if trial.params else [])
    assert all(value <= 0 for t in told for value in t.constraints.values()) is False


def test_what_is_refused_is_passed_over_and_not_in_the_ledger(tmp_path: Path) -> None:
    for name, proposer in {
        "random": RandomProposer(space, 0),
        "tpe": TPEProposer(space, 0, "min"),
        "several": several(),
    }.items():
        objectives = OBJECTIVES if name == "several" else OBJECTIVES[:1]
        search = Search(
            tmp_path / name, proposer, 14, objectives, refuses=lambda fields: fields["x"] > 0.1
        )
        configs = search.run()
        assert len(configs) == 14
        assert configs[0] == DEFAULT, "the default always runs"
        assert all(config["x"] <= 0.1 for config in configs[1:])


class Never:
    def __call__(self, fields: dict[str, Any]) -> bool:
        return True

    def __str__(self) -> str:
        return '--constraint "size<0"'


def test_a_search_that_refuses_everything_says_so_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(tmp_path, RandomProposer(space, 0), 5, refuses=Never())
    assert search.run() == [DEFAULT]
    message = capsys.readouterr().err
    assert '1000 proposals in a row broke --constraint "size<0"' in message
    assert "ends with 1 trials" in message
    assert search.searcher.remaining() == 0


def test_the_process_gives_way_to_the_estimator_and_that_to_chance() -> None:
    proposer = several()
    kinds = [type(proposer._sampler(5, attempt)) for attempt in (0, 3, 50, 900)]
    assert kinds == [GPSampler, TPESampler, RandomSampler, RandomSampler]
    seeds = {proposer._seed_of(i, a) for i in range(50) for a in range(300)}
    assert len(seeds) == 50 * 300
