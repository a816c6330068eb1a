"""Spaces that cover a model of the user's by the fields that it has."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import raysweep
from raysweep.core.errors import UserError
from raysweep.search_spaces import SPACES, combine, get_space, grid, sample
from raysweep.search_spaces.fields import bounds, choices, searched, sites

NUM_SEEDS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Bare(raysweep.TrainingConfig):
    """A model whose fields no space knows but those that all have."""

    width: int = raysweep.option(16, "units", low=1, high=256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rich(raysweep.TrainingConfig):
    """Fields of several kinds, with limits of their own."""

    word_embedding_size: int = raysweep.option(32, "numbers a word", low=16, high=64)
    hidden_sizes: tuple[int, ...] = raysweep.option((64,), "units", low=1, high=512)
    input_batchnorm: bool = raysweep.option(False, "normalise the input")
    dense_dropout: tuple[float, ...] = raysweep.option((0.2,), "a rate a layer", low=0.0, high=0.5)
    input_dropout: float = raysweep.option(0.0, "share dropped", low=0.0, high=0.9)
    dense_l2: float = raysweep.option(0.0, "λ", low=0.0, high=1e-3)
    l2: float = raysweep.option(0.0, "λ of all else", low=0.0)
    batch_size: int = raysweep.option(48, "examples a step", low=1)
    optimizer: str = raysweep.option("adam", "update rule", choices=("adam", "sgd"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Own(Rich):
    """The same, with something to say about its ranges."""

    def search_ranges(self) -> Mapping[str, Any]:
        return {
            "l2": (1e-3, 1e-1),
            "input_dropout": None,
            "learning_rate": (1e-2, 2e-2),
            "batch_size": [7, 9],
        }


def covering(config: Any) -> set[str]:
    return {name for name, space in SPACES.items() if space.covers(config)}


def drawn(config: Any, *names: str) -> list[dict[str, Any]]:
    """What several spaces together set, for many seeds; the configuration takes each of them."""
    suggest = combine([get_space(name).bind("mine", config) for name in names])
    points = [sample(suggest, seed)[1] for seed in range(NUM_SEEDS)]
    points += [fields for _, fields in itertools.islice(grid(suggest, 2), 500)]
    for fields in points:
        type(config).create({**config.to_dict(), **fields})
    return points


def test_every_model_has_an_optimizer_to_search() -> None:
    assert covering(Bare()) == {"optimizer"}
    points = drawn(Bare(batch_size=64), "optimizer")
    assert {fields["batch_size"] for fields in points} == {16, 32, 64, 128}
    assert {fields["optimizer"] for fields in points} == {"sgd", "adam", "adagrad"}


def test_fields_bring_their_spaces_and_keep_their_limits() -> None:
    names = covering(Rich())
    assert names == {
        *("optimizer", "embedding_size", "head_shape", "batchnorm_placement"),
        *("dropout_placement", "l2"),
    }
    points = drawn(Rich(), *sorted(names))
    sizes = {fields["word_embedding_size"] for fields in points}
    assert {16, 64} <= sizes
    assert sizes <= set(range(16, 65))
    assert {fields["optimizer"] for fields in points} == {"sgd", "adam"}
    assert {len(fields["hidden_sizes"]) for fields in points} == {0, 1, 2, 3}
    assert all(len(f["hidden_sizes"]) == len(f["dense_dropout"]) for f in points)
    assert max(max(f["dense_dropout"], default=0.0) for f in points) <= 0.5
    assert max(fields["dense_l2"] for fields in points) <= 1e-3


def test_a_configuration_says_what_it_wants_tried() -> None:
    points = drawn(Own(), "l2", "optimizer", "dropout_placement")
    assert all(1e-3 <= fields["l2"] <= 1e-1 for fields in points)
    assert all(1e-2 <= fields["learning_rate"] <= 2e-2 for fields in points)
    assert {fields["batch_size"] for fields in points} == {7, 9}
    assert not any("input_dropout" in fields for fields in points)
    assert searched(Own(), "*_l2|l2") == ["l2", "dense_l2"], "its own first"


def test_the_message_names_the_fields_that_are_missing() -> None:
    with pytest.raises(UserError, match=r"'l2' is not for mine: it has no field \*_l2 or l2$"):
        get_space("l2").bind("mine", Bare())
    with pytest.raises(UserError, match="no field cell, and it has no field hidden_size, and"):
        get_space("rnn_size").bind("mine", Bare())

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Fixed(Rich):
        def search_ranges(self) -> Mapping[str, Any]:
            return {"hidden_sizes": None}

    with pytest.raises(UserError, match="its hidden_sizes is not to be searched as it is set"):
        get_space("head_shape").bind("mine", Fixed())


def test_what_spaces_read() -> None:
    config = Rich(hidden_sizes=(8, 8, 8), dense_dropout=(0.1, 0.1, 0.1))
    assert sites(config, "dropout") == {
        "dense_dropout": ["dense_1", "dense_2", "dense_3"],
        "input_dropout": ["input"],
    }
    assert bounds(config, "dense_l2", 1e-7, 1e-2) == (1e-7, 1e-3)
    assert choices(config, "optimizer", ["sgd", "adagrad"]) == ["sgd"]
    assert choices(config, "optimizer", ["lion"]) == ["adam", "sgd"]
