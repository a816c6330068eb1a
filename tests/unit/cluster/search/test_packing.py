"""--pack: what is refused, and where `auto` packs."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.packing import check_pack, pack_size
from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset


def request(**fields: Any) -> SearchRequest:
    values = {"task": "matrix_factorization", "spaces": ("l2",), "settings": {"num_factors": 8}}
    return SearchRequest(**{**values, **fields}).checked()


@pytest.mark.parametrize(
    ("fields", "pack", "words"),
    [
        ({}, "many", "use auto, off, or a number from 1 to 256"),
        ({}, "0", "use auto, off, or a number"),
        ({}, "-2", "use auto, off, or a number"),
        ({"scheduler": "pbt"}, "4", "--scheduler asha or none"),
    ],
)
def test_what_cannot_be_followed_is_refused(fields: dict[str, Any], pack: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_pack(request(**fields), pack)


@pytest.mark.parametrize(
    ("fields", "pack", "size"),
    [
        ({}, "auto", 8),
        ({}, "off", 1),
        ({}, "3", 3),
        ({"spaces": ("l2", "embedding_size"), "settings": {}}, "auto", 1),
        ({"spaces": ("optimizer",)}, "auto", 1),
        ({"settings": {"num_factors": 4096}}, "auto", 1),
        ({"settings": {"num_factors": 8, "implicit_feedback": True}}, "auto", 8),
        ({"scheduler": "hyperband"}, "auto", 1),
        ({"scheduler": "pbt"}, "auto", 1),
        ({"gpus": 1}, "auto", 1),
        ({"task": "ratings_net", "settings": {}}, "auto", 8),
        ({"task": "ratings_net", "settings": {"num_factors": 1024}}, "auto", 1),
        ({"task": "char_rnn", "spaces": ("optimizer",), "settings": {}}, "auto", 1),
        ({"task": "char_rnn", "spaces": ("dropout_placement",), "settings": {}}, "auto", 1),
        ({"task": "char_rnn", "spaces": ("dropout_placement",), "settings": {}}, "3", 3),
    ],
)
def test_small_models_that_differ_in_rates_and_penalties_are_packed(
    ratings_dataset: Dataset, fields: dict[str, Any], pack: str, size: int
) -> None:
    assert pack_size(request(**fields), pack, ratings_dataset) == size
