"""Spaces of the user's: Ray Tune's domains within Ray's own limits, Optuna's functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from ray import tune

from raysweep.core.errors import UserError
from raysweep.core.free_config import FreeConfig
from raysweep.core.targets import name_object
from raysweep.search_spaces import Suggest, bind_user_space, describe_domains, grid, read, sample
from raysweep.trainables.optim import TrainingConfig

FREE = FreeConfig()
# Each of Ray's domains.
DOMAINS: dict[str, Callable[[], Any]] = {
    "uniform": lambda: tune.uniform(-1.0, 2.0),
    "quniform": lambda: tune.quniform(-0.5, 1.5, 0.25),
    "loguniform": lambda: tune.loguniform(1e-5, 1e-1),
    "qloguniform": lambda: tune.qloguniform(0.1, 10.0, 0.1),
    "randn": lambda: tune.randn(10.0, 2.0),
    "qrandn": lambda: tune.qrandn(10.0, 2.0, 0.5),
    "randint": lambda: tune.randint(-3, 4),
    "qrandint": lambda: tune.qrandint(-6, 12, 3),
    "lograndint": lambda: tune.lograndint(1, 1000),
    "qlograndint": lambda: tune.qlograndint(4, 64, 4),
    "choice": lambda: tune.choice(["relu", "tanh"]),
    "choice of lists": lambda: tune.choice([[1, 2], [3]]),
    "grid_search": lambda: tune.grid_search([1, 5, 7]),
    "sample_from": lambda: tune.sample_from(lambda config: np.random.uniform(3, 4)),  # noqa: NPY002
}


def bound(space: Any, config: Any = FREE) -> Suggest:
    name = describe_domains(space) if isinstance(space, dict) else None
    return bind_user_space(name_object(space, name), "task", config)


def drawn(space: Any, number: int = 2000) -> list[Any]:
    suggest = bound({"x": space})
    return [sample(suggest, seed)[1]["x"] for seed in range(number)]


@pytest.mark.parametrize("kind", DOMAINS)
def test_a_domain_gives_what_ray_would_draw(kind: str) -> None:
    domain = DOMAINS[kind]()
    ours = drawn(domain)
    if kind == "grid_search":
        assert set(ours) == {1, 5, 7}
        return
    rays = [domain.sample() for _ in range(2000)]
    assert {type(value) for value in ours} == {type(value) for value in rays}
    if kind.startswith("choice"):
        assert {str(value) for value in ours} == {str(value) for value in rays}
        return
    spread = max(max(rays) - min(rays), 1e-12)
    assert min(ours) == pytest.approx(min(rays), abs=0.25 * spread)
    assert max(ours) == pytest.approx(max(rays), abs=0.25 * spread)
    scale = np.log if "log" in kind else np.asarray
    middle, deviation = np.median(scale(rays)), np.std(scale(rays))
    assert np.median(scale(ours)) == pytest.approx(middle, abs=0.35 * deviation)
    quantum = getattr(domain.get_sampler(), "q", None)
    if quantum:
        assert all(math.isclose(v / quantum, round(v / quantum), abs_tol=1e-6) for v in ours)
    if quantum and "randn" not in kind:  # which has no limits
        assert set(np.round(ours, 9)) <= set(np.round([domain.sample() for _ in range(8000)], 9))


@pytest.mark.parametrize("kind", DOMAINS)
def test_what_was_drawn_can_be_read_back(kind: str) -> None:
    suggest = bound({"x": DOMAINS[kind](), "deep": {"er": tune.uniform(0, 1), "fixed": 3}})
    for seed in range(20):
        params, fields = sample(suggest, seed)
        assert read(suggest, params) == fields
        assert fields["deep/fixed"] == 3
        assert 0 <= fields["deep/er"] <= 1
        optuna_trial = optuna.trial.FixedTrial(params)
        assert suggest(optuna_trial) == fields, "Optuna's trial gives the same"


def test_a_function_sees_what_was_drawn_before() -> None:
    suggest = bound(
        {"b": tune.sample_from(lambda c: c["a"]["x"] * 10), "a": {"x": tune.choice([1, 2])}}
    )
    assert {sample(suggest, seed)[1]["b"] for seed in range(20)} == {10, 20}


def test_a_grid_has_every_value() -> None:
    suggest = bound({"x": tune.grid_search([1, 2, 3]), "y": tune.grid_search(["a", "b"])})
    assert len(list(grid(suggest))) == 6


def by_name(trial: optuna.Trial) -> None:
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        trial.suggest_int("depth", 1, 3)


def with_constants(trial: optuna.Trial) -> dict[str, Any]:
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    return {"model": {"width": 3}}


def test_a_define_by_run_function_names_the_fields() -> None:
    fields = [sample(bound(by_name), seed)[1] for seed in range(30)]
    assert {frozenset(f) for f in fields} == {frozenset({"kind", "depth"}), frozenset({"kind"})}
    assert sample(bound(with_constants), 0)[1].keys() == {"lr", "model/width"}


def test_only_fields_of_a_learner_are_taken_from_what_was_asked() -> None:
    def renamed(trial: optuna.Trial) -> dict[str, Any]:
        return {"learning_rate": 10 ** trial.suggest_float("exponent", -4, -1)}

    assert sample(bound(renamed, TrainingConfig()), 0)[1].keys() == {"learning_rate"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rate": tune.uniform(0.0, 20.0)}, "beyond what learning_rate may be: .*too sm"),
        ({"epochs": tune.randint(1, 20), "optimizer": tune.choice(["adam", "adamw"])}, "optimizer"),
        (3, "no search space"),
        (lambda trial: trial.suggest_float("x", 2.0, 1.0), "failed:\n"),
        (lambda trial: 7, "returned 7; a space returns a dictionary"),
    ],
)
def test_what_is_no_space_is_refused(space: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(bound(space, TrainingConfig()), 0)


def test_equal_dictionaries_are_the_same_space() -> None:
    def space() -> dict[str, Any]:
        return {name: make() for name, make in DOMAINS.items()}

    assert describe_domains(space()) == describe_domains(dict(reversed(space().items())))
    assert describe_domains({"x": tune.uniform(0, 1)}) != describe_domains(
        {"x": tune.uniform(0, 2)}
    )
    assert describe_domains({"x": tune.randint(0, 9)}) != describe_domains(
        {"x": tune.uniform(0, 9)}
    )


def test_a_value_that_no_run_could_store_is_refused() -> None:
    with pytest.raises(UserError, match=r"the configuration's act is .*cannot be stored as JSON"):
        FreeConfig.create({"act": math.sin})


def test_text_is_read_as_people_mean_it() -> None:
    typed = FreeConfig.read({"a": "3", "b": "1e-3", "c": "true", "d": "relu", "e": "none"})
    assert typed.to_dict() == {"a": 3, "b": 1e-3, "c": True, "d": "relu", "e": None}
