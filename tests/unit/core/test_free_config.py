"""The configuration of code that takes a dictionary: nested fields, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.core.free_config import FreeConfig, flatten, nest

NESTED = {"lr": 0.1, "model": {"width": 3, "layers": {"depth": 2}}, "sizes": [1, 2], "empty": {}}


def test_nested_fields_are_flat_by_their_paths_and_come_back() -> None:
    config = FreeConfig.create(NESTED)
    assert config.to_dict()["model/layers/depth"] == 2
    assert nest(config.to_dict()) == NESTED
    assert flatten(NESTED) == config.to_dict()


def test_a_number_of_numpy_is_a_number() -> None:
    assert FreeConfig.create({"x": np.float64(0.5), "n": np.int64(3)}).to_dict() == {
        "x": 0.5,
        "n": 3,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1, "a/b": 2}, "a is a value, and a/b takes it for a dictionary"),
        ({"epochs": "abc"}, "epochs='abc' is not a number of reports"),
        ({"epochs": 0}, "at least 1"),
        ({"x": float("nan")}, "cannot be stored as JSON"),
        ({"x": object()}, "cannot be stored as JSON"),
    ],
)
def test_what_no_trial_could_use_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FreeConfig.read(values)
