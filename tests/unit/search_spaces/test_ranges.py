"""Ranges as they are typed: what they draw, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
import pytest

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.search_spaces import bind_ranges, grid, parse_range, read, sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings(Config):
    rate: float = option(0.01, "a rate", low=1e-6, high=1.0)
    width: int = option(64, "units", low=1, high=1024)
    kind: str = option("cnn", "a kind", choices=("cnn", "lstm", "dense"))
    sizes: tuple[int, ...] = option((8,), "sizes of layers", low=1)
    flag: bool = option(False, "a flag")


def bind(*texts: str) -> Any:
    return bind_ranges([parse_range(text, Settings) for text in texts], Settings())


def draws(*texts: str, count: int = 200) -> list[dict[str, Any]]:
    return [sample(bind(*texts), seed)[1] for seed in range(count)]


def test_a_logarithmic_range_is_even_in_its_logarithm() -> None:
    values = [fields["rate"] for fields in draws("rate=1e-4..1e-1:log", count=600)]
    assert all(1e-4 <= value <= 1e-1 for value in values)
    shares = [sum(low <= v < 10 * low for v in values) / 600 for low in (1e-4, 1e-3, 1e-2)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)


def test_whole_numbers_stay_whole_and_reach_both_ends() -> None:
    values = {fields["width"] for fields in draws("width=1..4")}
    assert values == {1, 2, 3, 4}
    assert all(isinstance(value, int) for value in values)


def test_steps_are_multiples_from_the_low_end() -> None:
    assert {fields["rate"] for fields in draws("rate=0.1..0.5:0.1")} == {0.1, 0.2, 0.3, 0.4, 0.5}
    assert {fields["width"] for fields in draws("width=16..64:16")} == {16, 32, 48, 64}


def test_choices_of_words_of_lists_and_of_truth_values() -> None:
    assert {fields["kind"] for fields in draws("kind=cnn,lstm")} == {"cnn", "lstm"}
    assert {fields["sizes"] for fields in draws("sizes=64|128,64")} == {(64,), (128, 64)}
    assert {fields["flag"] for fields in draws("flag=true,false")} == {True, False}
    assert {fields["width"] for fields in draws("width=32,64")} == {32, 64}


def test_a_condition_is_on_what_was_chosen_or_else_on_the_configuration() -> None:
    for fields in draws("width=16..64 if kind==lstm", "kind=cnn,lstm"):
        assert ("width" in fields) == (fields["kind"] == "lstm")
    assert draws("width=16..64 if kind==lstm", count=1) == [{}]
    assert draws("width=16..64 if kind==cnn|dense", count=1)[0]


def test_every_searcher_walks_the_same_space() -> None:
    suggest = bind("kind=cnn,lstm", "width=16..64:16 if kind==lstm")
    points = list(grid(suggest))
    assert len(points) == 5
    assert [read(suggest, params) for params, _ in points] == [fields for _, fields in points]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True))
    study.optimize(lambda trial: float(suggest(trial).get("width", 128)), n_trials=30)
    assert study.best_value == 16


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("rate", "is not FIELD=LOW..HIGH"),
        ("learning=1..2", "there is no field 'learning'"),
        ("widht=1..2", "did you mean 'width'"),
        ("width=1..5000", "width=5000 is too large; it may be at most 1024"),
        ("rate=0..0.5", "rate=0.0 is too small"),
        ("width=8..8", "8 is not below 8"),
        ("width=64..8", "64 is not below 8"),
        ("rate=1e-3..1e-1:lgo", "'lgo' is neither log nor a step"),
        ("rate=0.1..0.2:5", "the step must be above 0 and at most 0.1"),
        ("kind=cnn..lstm", "kind is no number; list its values"),
        ("kind=cnn,rnn", "kind='rnn' is not one of cnn, lstm, dense"),
        ("kind=cnn", "has one value only; fix it by --set kind=cnn"),
        ("width=1.5..8", "is not of type int"),
        ("width=1..8 if kinds==cnn", "did you mean 'kind'"),
        ("width=1..8 if kind==rnn", "kind='rnn' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(UserError) as error:
        parse_range(text, Settings)
    assert advice in str(error.value)


def test_two_ranges_of_a_field_and_circles_are_refused() -> None:
    with pytest.raises(UserError, match="two ranges for width; give one"):
        bind("width=1..2", "width=3..4")
    with pytest.raises(UserError, match="kind, width depend on each other"):
        bind("width=1..2 if kind==cnn", "kind=cnn,lstm if width==2")
