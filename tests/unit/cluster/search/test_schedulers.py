"""Every scheduler is built from what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SCHEDULERS
from raysweep.cluster.search.schedulers import OrderedASHA, build_scheduler
from raysweep.search_spaces import get_space
from raysweep.trainables import get_learner
from raysweep.trainables.trial_files import INDEX

Build = Callable[..., TrialScheduler]


@pytest.fixture
def build(ledger: Ledger) -> Build:
    def make(name: str, space: str = "l2", **fields: Any) -> TrialScheduler:
        task = "matrix_factorization"
        config = get_learner(task).config_class.create(fields)
        return build_scheduler(
            name,
            ledger,
            config,
            get_space(space).bind(task, config),
            grace_period=1,
            reduction_factor=3,
            seed=0,
        )

    return make


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_can_be_built(build: Build, name: str) -> None:
    assert isinstance(build(name, epochs=9), TrialScheduler)


def test_asha_is_our_own(build: Build) -> None:
    assert isinstance(build("asha"), OrderedASHA)


@pytest.mark.parametrize("space", ["l2", "optimizer"])
def test_what_pbt_perturbs_stays_within_the_fields_ranges(build: Build, space: str) -> None:
    scheduler = build("pbt", space=space)
    names = scheduler._hyperparam_mutations  # type: ignore[attr-defined]
    config_class = get_learner("matrix_factorization").config_class
    assert names
    wild = {**config_class().to_dict(), **dict.fromkeys(names, 1e9), INDEX: 3}
    explored = scheduler._custom_explore_fn(wild)  # type: ignore[attr-defined]
    assert explored.pop(INDEX) == 3
    config_class.create(explored)
    for draw in names.values():
        assert isinstance(draw(), float)
