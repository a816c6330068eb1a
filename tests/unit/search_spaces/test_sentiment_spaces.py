"""Spaces of sentiment models ask for what the architecture has."""

from __future__ import annotations

import pytest

from raysweep.core.errors import UserError
from raysweep.search_spaces import get_space, sample
from raysweep.trainables.texts.config import SentimentConfig

ARCHITECTURES = ("dense", "cnn", "lstm")
NO_DROPOUT = dict.fromkeys(
    [f"{s}_dropout" for s in ("word", "embedding", "channel", "conv", "pool", "dense")], 0.0
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_placed_where_the_architecture_has_it(architecture: str) -> None:
    config = SentimentConfig.create({"architecture": architecture})
    suggest = get_space("dropout_placement").bind("sentiment", config)
    fields = set().union(*(sample(suggest, seed)[1] for seed in range(20)))
    expected = set(NO_DROPOUT)
    if architecture != "cnn":
        expected -= {"conv_dropout", "pool_dropout"}
    assert fields == expected


def test_filter_widths_are_searched_for_convolutions_only() -> None:
    suggest = get_space("filter_widths").bind("sentiment", SentimentConfig())
    drawn = {sample(suggest, seed)[1]["filter_widths"] for seed in range(200)}
    assert all(set(widths) <= set(range(2, 8)) for widths in drawn)
    assert len(drawn) > 30
    lstm = SentimentConfig.create({"architecture": "lstm"})
    with pytest.raises(UserError, match="is for architecture=cnn"):
        sample(get_space("filter_widths").bind("sentiment", lstm), 0)
