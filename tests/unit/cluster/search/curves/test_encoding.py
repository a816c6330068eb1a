"""Configurations as points: every kind of param, and those that are asked for at times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.search_spaces import sample
from raysweep.search_spaces.space import Trial


def suggest(trial: Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ["cnn", "lstm", None])
    fields: dict[str, Any] = {"kind": kind, "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}
    fields["width"] = trial.suggest_int("width", 16, 256, log=True)
    fields["layers"] = trial.suggest_int("layers", 1, 9, step=2)
    fields["drop"] = trial.suggest_float("drop", 0.0, 0.5, step=0.1)
    if kind == "lstm":
        fields["hidden"] = trial.suggest_int("hidden", 1, 4)
    return fields


def plain(trial: Trial) -> dict[str, Any]:
    return {
        "x": trial.suggest_float("x", -1, 3),
        "n": trial.suggest_int("n", 1, 5),
        "c": trial.suggest_categorical("c", [True, False]),
    }


@pytest.mark.parametrize("space", [suggest, plain])
def test_a_configuration_is_where_its_params_say(space: Any) -> None:
    encoder = Encoder(space)
    for seed in range(50):
        params, fields = sample(space, seed)
        proposal = encoder.propose(encoder.place(params))
        assert proposal.fields.keys() == fields.keys()
        for name, value in params.items():
            if isinstance(value, float):
                assert proposal.params[name] == pytest.approx(value, rel=2e-3, abs=2e-4)
            else:
                assert proposal.params[name] == value
        np.testing.assert_allclose(proposal.features, encoder.features(params), atol=2e-3)


def test_every_place_is_a_configuration_within_its_ranges() -> None:
    encoder = Encoder(suggest)
    assert encoder.names == ["drop", "hidden", "kind", "layers", "lr", "width"]
    rng = np.random.default_rng(0)
    corners = [np.zeros(6), np.ones(6), *rng.random((200, 6))]
    seen = [encoder.propose(place).fields for place in corners]
    assert {f["layers"] for f in seen} == {1, 3, 5, 7, 9}
    assert {f["drop"] for f in seen} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert {f["kind"] for f in seen} == {"cnn", "lstm", None}
    assert min(f["lr"] for f in seen) >= 1e-4
    assert max(f["lr"] for f in seen) <= 1e-1
    assert {f["hidden"] for f in seen if "hidden" in f} == {1, 2, 3, 4}
    assert all(("hidden" in f) == (f["kind"] == "lstm") for f in seen)


def test_what_is_not_asked_for_makes_no_difference() -> None:
    encoder = Encoder(suggest)
    params = {"kind": "cnn", "lr": 0.01, "width": 32, "layers": 3, "drop": 0.1}
    places = np.array([encoder.place(params)] * 2)
    places[1, encoder.names.index("hidden")] = 0.9
    first, second = encoder.many(places)
    np.testing.assert_array_equal(first, second)


def test_choices_are_equally_far_apart() -> None:
    encoder = Encoder(suggest)
    params = {"lr": 0.01, "width": 32, "layers": 3, "drop": 0.1}
    rows = [encoder.features({**params, "kind": kind}) for kind in ("cnn", None)]
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(1.0)


def test_many_places_at_once_are_the_same_as_one_by_one() -> None:
    encoder = Encoder(plain)
    places = np.random.default_rng(0).random((100, 3))
    one_by_one = np.array([encoder.propose(place).features for place in places])
    np.testing.assert_allclose(encoder.many(places), one_by_one, atol=1e-4)


def test_choices_that_depend_on_the_rest() -> None:
    def space(trial: Trial) -> dict[str, Any]:
        small = trial.suggest_categorical("small", [True, False])
        widths = [1, 2] if small else [2, 4, 8]
        return {"small": small, "width": trial.suggest_categorical("width", widths)}

    encoder = Encoder(space)
    for seed in range(30):
        params, fields = sample(space, seed)
        features = encoder.features(params)
        assert encoder.propose(encoder.place(params)).fields.keys() == fields.keys()
        assert (features > 0).sum() == 2, "one for each choice that was made"
