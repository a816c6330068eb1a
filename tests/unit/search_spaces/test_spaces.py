"""What every search space must keep to, for every trainable that it covers, alone and combined."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest

from raysweep.core.errors import UserError
from raysweep.search_spaces import SPACES, Suggest, combine, get_space, grid, read, sample
from raysweep.search_spaces.space import Trial
from raysweep.trainables import LEARNERS, get_learner

MAX_POINTS = 1000
# Base configurations besides the default: some spaces look at them.
BASES: dict[str, list[dict[str, Any]]] = {
    "char_rnn": [{"num_layers": 2}],
    "image_head": [{"hidden_sizes": "32,16", "dense_dropout": "0.1,0.2"}, {"hidden_sizes": ""}],
    "word_vectors": [{"task": "skip_gram"}],
    "matrix_factorization": [
        {"l2_on": "table"},
        {"l2_on": "batch", "biases": False, "implicit_feedback": True},
    ],
    "ratings_net": [
        {"hidden_sizes": "32,16", "dense_dropout": "0.1,0.2", "l2_on": "table"},
        {"implicit_feedback": False},
    ],
    "sentiment": [
        {"architecture": "dense"},
        {"architecture": "lstm", "embedding_source": "glove"},
        {"filter_widths": "3,4,5", "embedding_phases": "1xtrainable,1xfrozen"},
    ],
}
# (trainable, space, number of the base configuration): spaces that do not suit a base.
REFUSED = {
    ("image_head", "head_shape", 1): "dense_dropout has a value for each layer",
    ("sentiment", "filter_widths", 1): "is for architecture=cnn, not dense",
    ("sentiment", "filter_widths", 2): "is for architecture=cnn, not lstm",
}


def covering(trainable: str) -> list[str]:
    """The names of the spaces that cover a trainable's default configuration."""
    config = get_learner(trainable).config_class()
    return [space.name for space in SPACES.values() if space.covers(config)]


def cases() -> list[Any]:
    """Every trainable with each of its spaces, with each pair, and with all of them."""
    params = []
    for trainable in LEARNERS:
        names = covering(trainable)
        groups = {(n,) for n in names} | set(itertools.combinations(names, 2)) | {tuple(names)}
        for group in sorted(groups):
            alone = len(group) == 1
            for number in range(1 + len(BASES.get(trainable, [])) if alone else 1):
                if (trainable, group[0], number) in REFUSED:
                    continue
                label = f"{trainable}-{'+'.join(group)}-{number}"
                params.append(pytest.param((trainable, group, number), id=label))
    return params


def bound(trainable: str, names: Sequence[str], number: int = 0) -> tuple[Any, Suggest]:
    """A base configuration of the trainable, and the spaces of these names in one."""
    base = [{}, *BASES.get(trainable, [])][number]
    config = get_learner(trainable).config_class.create(base)
    return config, combine([get_space(name).bind(trainable, config) for name in names])


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest) -> tuple[str, Any, Suggest]:
    """(trainable, base configuration, the function of a trial)."""
    trainable, names, number = request.param
    return trainable, *bound(trainable, names, number)


def accepted(config: Any, fields: Mapping[str, Any]) -> Any:
    return type(config).create({**config.to_dict(), **fields})


class _Ranges:
    """Gives params that were chosen before, and notes what each was chosen from."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.ranges: dict[str, tuple[float, float]] = {}
        self.choices: dict[str, list[Any]] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert low < high
        assert low > 0 or not log
        assert isinstance(self._params[name], float)
        self.ranges[name] = (low, high)
        return float(self._params[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        assert low < high
        assert isinstance(self._params[name], int)
        self.ranges[name] = (low, high)
        return int(self._params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert len(set(choices)) == len(choices) > 0
        self.choices[name] = list(choices)
        return self._params[name]


def ranges_of(suggest: Suggest, params: Mapping[str, Any]) -> _Ranges:
    ranges = _Ranges(params)
    suggest(ranges)
    return ranges


def key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def test_the_registry_is_not_empty_and_covers_every_trainable() -> None:
    assert SPACES
    assert all(name == space.name and space.question.strip() for name, space in SPACES.items())
    assert all(covering(trainable) for trainable in LEARNERS)
    assert {name for trainable in LEARNERS for name in covering(trainable)} == set(SPACES)
    assert len(cases()) > len(SPACES)


def test_an_unknown_space_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'embedding_size'"):
        get_space("embeding_size")


def test_a_space_refuses_a_trainable_that_it_does_not_cover() -> None:
    config = get_learner("char_rnn").config_class()
    with pytest.raises(UserError, match=r"'l2' is not for char_rnn: it has no field \*_l2 or l2"):
        get_space("l2").bind("char_rnn", config)
    with pytest.raises(UserError, match="no field variants, and it has no field variant_share"):
        get_space("augmentation").bind("char_rnn", config)


def test_samples_are_accepted_by_the_configuration(case: tuple[str, Any, Suggest]) -> None:
    _, config, suggest = case
    for seed in range(50):
        _, fields = sample(suggest, seed)
        assert fields
        assert set(fields) <= set(config.names())
        accepted(config, fields)


def test_both_ends_of_every_range_are_accepted(case: tuple[str, Any, Suggest]) -> None:
    _, config, suggest = case
    points = list(itertools.islice(grid(suggest, num_values=2), MAX_POINTS))
    assert points
    for _, fields in points:
        accepted(config, fields)


def test_every_point_sets_the_same_fields(case: tuple[str, Any, Suggest]) -> None:
    _, _, suggest = case
    assert len({tuple(sorted(sample(suggest, seed)[1])) for seed in range(30)}) == 1


def test_a_sample_is_a_pure_function_of_its_seed(case: tuple[str, Any, Suggest]) -> None:
    _, _, suggest = case
    expected = sample(suggest, 3, 1, 4)
    random.seed(0)
    np.random.default_rng().random(5)
    sample(suggest, 9)
    assert sample(suggest, 3, 1, 4) == expected


def test_samples_of_different_seeds_differ(case: tuple[str, Any, Suggest]) -> None:
    _, _, suggest = case
    enough = len(list(itertools.islice(grid(suggest, num_values=12), 20))) // 2
    assert len({key(sample(suggest, 0, index, 0)[0]) for index in range(30)}) > enough
    assert len({key(sample(suggest, seed, 0, 0)[0]) for seed in range(30)}) > enough
    assert len({key(sample(suggest, 0, 0, attempt)[0]) for attempt in range(30)}) > enough


def test_samples_stay_within_their_ranges_and_choices(case: tuple[str, Any, Suggest]) -> None:
    _, _, suggest = case
    for seed in range(50):
        params, _ = sample(suggest, seed)
        suggested = ranges_of(suggest, params)
        assert set(suggested.ranges) | set(suggested.choices) == set(params)
        assert all(low <= params[n] <= high for n, (low, high) in suggested.ranges.items())
        assert all(params[n] in choices for n, choices in suggested.choices.items())


def test_recorded_params_give_the_fields_again(case: tuple[str, Any, Suggest]) -> None:
    _, _, suggest = case
    points = [sample(suggest, seed) for seed in range(30)]
    for params, fields in [*points, *itertools.islice(grid(suggest, num_values=3), 30)]:
        assert read(suggest, json.loads(json.dumps(params))) == fields


def test_a_grid_repeats_nothing_and_has_both_ends_and_every_choice(
    case: tuple[str, Any, Suggest],
) -> None:
    _, _, suggest = case
    points = [params for params, _ in itertools.islice(grid(suggest, num_values=2), MAX_POINTS)]
    assert len({key(p) for p in points}) == len(points)
    if len(points) == MAX_POINTS:
        return  # too large to walk whole; its spaces are walked one by one
    seen, wanted = defaultdict(set), defaultdict(set)
    for params in points:
        suggested = ranges_of(suggest, params)
        for name, ends in suggested.ranges.items():
            wanted[name] |= set(ends)
        for name, choices in suggested.choices.items():
            wanted[name] |= set(choices)
        for name, value in params.items():
            seen[name].add(value)
    assert seen == wanted


def test_optunas_own_trial_works(case: tuple[str, Any, Suggest]) -> None:
    _, config, suggest = case
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        trial = study.ask()
        fields = suggest(trial)
        accepted(config, fields)
        assert read(suggest, trial.params) == fields


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: "-".join(map(str, refused)))
def test_a_space_that_does_not_suit_a_configuration_is_refused(
    refused: tuple[str, str, int],
) -> None:
    trainable, name, number = refused
    with pytest.raises(UserError, match=REFUSED[refused]):
        sample(bound(trainable, [name], number)[1], 0)


def test_clashing_spaces_are_refused_by_field() -> None:
    def rate(trial: Trial) -> dict[str, Any]:
        return {"rate": trial.suggest_float("rate", 0.1, 1.0)}

    def other(trial: Trial) -> dict[str, Any]:
        return {"rate": trial.suggest_float("other", 0.1, 1.0)}

    with pytest.raises(UserError, match="two of the spaces set rate"):
        sample(combine([rate, other]), 0)


def test_combined_spaces_set_the_fields_of_all() -> None:
    def one(trial: Trial) -> dict[str, Any]:
        return {"a": trial.suggest_int("a", 1, 3)}

    def two(trial: Trial) -> dict[str, Any]:
        return {"b": trial.suggest_categorical("b", ["x", "y"])}

    assert set(sample(combine([one, two]), 0)[1]) == {"a", "b"}
    assert len(list(grid(combine([one, two])))) == 6
    assert list(grid(combine([]))) == [({}, {})]


def test_a_space_that_comes_first_shapes_what_the_others_ask() -> None:
    config = get_learner("image_head").config_class()
    spaces = [get_space(n).bind("image_head", config) for n in ("dropout_placement", "head_shape")]
    layers = set()
    for suggest in (combine(spaces), combine(spaces[::-1])):
        for seed in range(60):
            params, fields = sample(suggest, seed)
            assert len(fields["dense_dropout"]) == len(fields["hidden_sizes"])
            assert params["num_layers"] == len(fields["hidden_sizes"])
            accepted(config, fields)
            layers.add(params["num_layers"])
    assert layers == {0, 1, 2, 3}


def test_rates_for_each_layer_and_a_searched_number_of_layers_are_refused() -> None:
    values = {"hidden_sizes": "8,8", "dense_dropout": "0.1,0.2"}
    config = get_learner("image_head").config_class.create(values)
    with pytest.raises(UserError, match="dense_dropout has a value for each layer"):
        sample(get_space("head_shape").bind("image_head", config), 0)


def conditional(trial: Trial) -> dict[str, Any]:
    if trial.suggest_categorical("on", [False, True]):
        return {"x": trial.suggest_float("x", 0.1, 0.9)}
    return {"x": 0.0}


def test_a_grid_walks_branches_only_where_they_apply() -> None:
    points = [params for params, _ in grid(conditional, num_values=3)]
    assert points == [
        {"on": False},
        {"on": True, "x": 0.1},
        {"on": True, "x": 0.5},
        {"on": True, "x": 0.9},
    ]


@pytest.mark.parametrize("num_values", [2, 3, 5])
def test_a_grid_takes_as_many_values_of_a_range_as_asked(num_values: int) -> None:
    def suggest(trial: Trial) -> dict[str, Any]:
        return {"x": trial.suggest_float("x", 1e-4, 1.0, log=True)}

    values = [fields["x"] for _, fields in grid(suggest, num_values=num_values)]
    assert values == pytest.approx(np.geomspace(1e-4, 1.0, num_values).tolist(), rel=1e-3)
    assert (values[0], values[-1]) == (1e-4, 1.0)


def test_a_grid_takes_every_value_of_a_short_range_of_whole_numbers() -> None:
    def suggest(trial: Trial) -> dict[str, Any]:
        return {"n": trial.suggest_int("n", 1, 4)}

    assert [fields["n"] for _, fields in grid(suggest, num_values=5)] == [1, 2, 3, 4]


def test_a_space_that_asks_for_two_things_by_one_name_is_refused() -> None:
    def suggest(trial: Trial) -> dict[str, Any]:
        first = trial.suggest_float("x", 0.0, 0.4)
        return {"a": first, "b": trial.suggest_float("x", 0.6, 1.0)}

    with pytest.raises(UserError, match="ask for 'x'"):
        sample(suggest, 0)


def test_log_samples_are_spread_evenly_over_the_decades() -> None:
    def suggest(trial: Trial) -> dict[str, Any]:
        return {"x": trial.suggest_float("x", 1e-4, 1.0, log=True)}

    values = [math.log10(sample(suggest, seed)[1]["x"]) for seed in range(400)]
    shares = np.histogram(values, bins=4, range=(-4, 0))[0] / 400
    assert shares.min() > 0.15
    assert sum(v in (-4.0, 0.0) for v in values) < 5


def test_whole_numbers_are_drawn_up_to_both_ends() -> None:
    def suggest(trial: Trial) -> dict[str, Any]:
        return {"n": trial.suggest_int("n", 1, 3), "m": trial.suggest_int("m", 1, 3, log=True)}

    drawn = [sample(suggest, seed)[1] for seed in range(100)]
    assert {d["n"] for d in drawn} == {d["m"] for d in drawn} == {1, 2, 3}


def test_the_optimizer_space_asks_only_for_the_rate_of_its_rule() -> None:
    config = get_learner("matrix_factorization").config_class()
    suggest = get_space("optimizer").bind("matrix_factorization", config)
    for seed in range(40):
        params, fields = sample(suggest, seed)
        rates = [name for name in params if name.endswith("learning_rate")]
        assert rates == [f"{params['optimizer']}_learning_rate"]
        assert fields["learning_rate"] == params[rates[0]]


@pytest.mark.parametrize("sizes", ["64", "32,16,8"])
def test_dropout_rates_are_asked_for_only_where_dropout_is_placed(sizes: str) -> None:
    config = get_learner("ratings_net").config_class.create({"hidden_sizes": sizes})
    suggest = get_space("dropout_placement").bind("ratings_net", config)
    seen = set()
    for seed in range(200):
        params, fields = sample(suggest, seed)
        rates = [fields["embedding_dropout"], *fields["dense_dropout"]]
        assert len(fields["dense_dropout"]) == len(config.hidden_sizes)
        placed = [rate for rate in rates if rate > 0]
        suggested = {name for name in params if name.startswith("rate_")}
        seen.add(params["placement"])
        if params["placement"] == "everywhere":
            assert suggested == {"rate_everywhere"}
            assert len(placed) == len(rates)
            assert len(set(rates)) == 1
        elif params["placement"] == "one_site":
            assert suggested == {"rate_one_site"}
            assert len(placed) == 1
        else:
            used = {name.removeprefix("use_") for name, on in params.items() if on is True}
            assert suggested == {f"rate_{site}" for site in used}
            assert len(placed) == len(used)
    assert seen == {"everywhere", "one_site", "free"}
