"""Configurations: text in, checked values out, and refusals that say how to fix it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.trainables.learner import Learner


@dataclass(frozen=True, kw_only=True, slots=True)
class Example(Config):
    count: int = option(2, "a count", low=1, high=10)
    seed: int = option(0, "a seed", low=0)
    rate: float = option(0.5, "a share", low=0.0, high=1.0)
    free: float = option(0.0, "any number")
    switch: bool = option(True, "on or off")
    word: str = option("red", "a colour", choices=("red", "green"))
    text: str = option("", "any text")
    sizes: tuple[int, ...] = option((4,), "sizes", low=1, high=9)
    rates: tuple[float, ...] = option((0.1,), "shares", low=0.0, high=1.0)
    folder: str | None = option(None, "a folder")
    limit: int | None = option(None, "a limit", low=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked(Config):
    low: int = option(1, "the smaller one")
    high: int = option(2, "the larger one")

    def check(self) -> None:
        if self.low > self.high:
            raise UserError(f"low={self.low} is above high={self.high}; swap them")


def value_of(field: str, value: Any) -> Any:
    return getattr(Example.create({field: value}), field)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("count", "3", 3),
        ("count", " 3 ", 3),
        ("count", "1e1", 10),
        ("count", 4.0, 4),
        ("rate", "0.25", 0.25),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("free", "-2", -2.0),
        ("switch", "true", True),
        ("switch", "Yes", True),
        ("switch", "ON", True),
        ("switch", "1", True),
        ("switch", "false", False),
        ("switch", "no", False),
        ("switch", "off", False),
        ("switch", "0", False),
        ("word", "green", "green"),
        ("text", "7", "7"),
        ("sizes", "1,2,3", (1, 2, 3)),
        ("sizes", " 1, 2 ", (1, 2)),
        ("sizes", "5", (5,)),
        ("sizes", 5, (5,)),
        ("sizes", [6, 7], (6, 7)),
        ("sizes", "", ()),
        ("rates", [0, 1], (0.0, 1.0)),
        ("folder", "none", None),
        ("folder", None, None),
        ("folder", "/x", "/x"),
        ("limit", "None", None),
        ("limit", "8", 8),
    ],
)
def test_text_and_lists_become_the_annotated_type(field: str, text: Any, expected: Any) -> None:
    value = value_of(field, text)
    assert value == expected
    assert type(value) is type(expected)


def test_numbers_in_a_tuple_of_floats_are_floats() -> None:
    assert all(type(v) is float for v in value_of("rates", [0, 1]))


def test_a_large_whole_number_keeps_every_digit() -> None:
    assert value_of("seed", str(2**60 + 1)) == 2**60 + 1
    assert value_of("seed", 2**60 + 1) == 2**60 + 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", "three"),
        ("count", "3.5"),
        ("count", 3.5),
        ("count", ""),
        ("count", None),
        ("count", True),
        ("rate", "0,1"),
        ("rate", None),
        ("rate", False),
        ("switch", "maybe"),
        ("sizes", "1,x"),
        ("sizes", [1.5]),
        ("sizes", None),
        ("limit", "many"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{field}="):
        value_of(field, value)


@pytest.mark.parametrize("value", [5, 2.5, None, []])
def test_a_switch_takes_truth_values_only(value: Any) -> None:
    with pytest.raises(UserError, match="switch="):
        value_of("switch", value)


def test_none_is_no_text() -> None:
    with pytest.raises(UserError, match="text="):
        value_of("text", None)


@pytest.mark.parametrize("field", ["count", "seed", "rate", "free", "sizes", "rates", "limit"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", float("nan"), float("inf"), "1e999"])
def test_only_finite_numbers_are_taken(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{field}="):
        value_of(field, value)


@pytest.mark.parametrize(
    ("field", "low", "high"), [("count", 1, 10), ("rate", 0.0, 1.0), ("sizes", 1, 9)]
)
def test_both_ends_of_a_range_are_allowed(field: str, low: float, high: float) -> None:
    assert value_of(field, low) in (low, (low,))
    assert value_of(field, high) in (high, (high,))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", 0, "count=0 is too small; it must be at least 1"),
        ("count", 11, "count=11 is too large; it may be at most 10"),
        ("rate", -0.1, "rate=-0.1 is too small; it must be at least 0"),
        ("rate", "1.01", "rate=1.01 is too large; it may be at most 1"),
        ("sizes", "3,0", "sizes=0 is too small; it must be at least 1"),
        ("rates", [0.5, 2], "rates=2.0 is too large; it may be at most 1"),
        ("limit", 0, "limit=0 is too small; it must be at least 1"),
    ],
)
def test_beyond_a_range_the_message_has_field_value_and_limit(
    field: str, value: Any, words: str
) -> None:
    with pytest.raises(UserError) as error:
        value_of(field, value)
    assert words in str(error.value)


def test_a_word_that_is_no_choice_gets_the_choices_and_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        value_of("word", "gren")
    assert "red, green" in str(error.value)
    assert "did you mean 'green'" in str(error.value)


def test_an_unknown_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(UserError, match=r"no field 'cuont'; did you mean 'count'\?"):
        Example.create({"cuont": 3})


def test_a_name_like_no_other_gets_the_list_of_all() -> None:
    with pytest.raises(UserError) as error:
        Example.create({"zzz": 3})
    assert all(name in str(error.value) for name in Example.names())


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(UserError, match="count=0"):
        Example(count=0)
    assert Example(sizes="1,2").sizes == (1, 2)  # type: ignore[arg-type]


def test_a_combination_is_checked_after_its_fields_were_parsed() -> None:
    assert Checked.create({"low": "2", "high": "10"}).high == 10
    with pytest.raises(UserError, match="low=3 is above high=2"):
        Checked.create({"low": "3"})


def test_a_configuration_cannot_be_changed() -> None:
    config = Example()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.count = 3  # type: ignore[misc]


def test_to_dict_survives_json() -> None:
    config = Example.create({"sizes": "1,2", "rates": "0.1,0.2", "limit": 3, "folder": "x"})
    plain = json.loads(json.dumps(config.to_dict()))
    assert plain == config.to_dict()
    assert Example.create(plain) == config


def configs_of(learner_class: type[Learner[Any]]) -> list[type[Config]]:
    return [learner_class.config_class, learner_class.data_class]


def test_every_shipped_field_says_what_it_means(learner_class: type[Learner[Any]]) -> None:
    for config_class in configs_of(learner_class):
        assert config_class.names()
        for field in dataclasses.fields(config_class):
            assert field.metadata.get("help", "").strip(), f"{config_class.__name__}.{field.name}"


def test_every_shipped_configuration_survives_json(learner_class: type[Learner[Any]]) -> None:
    for config_class in configs_of(learner_class):
        config = config_class()
        plain = json.loads(json.dumps(config.to_dict()))
        assert config_class.create(plain) == config
        assert config_class.create(plain).to_dict() == plain


def test_every_shipped_default_can_be_given_as_text(learner_class: type[Learner[Any]]) -> None:
    for config_class in configs_of(learner_class):
        for name, value in config_class().to_dict().items():
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            assert getattr(config_class.create({name: text}), name) == getattr(config_class(), name)
