"""The fingerprint of ratings, and their split in training, validation and test."""

from __future__ import annotations

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.ratings.movielens import Interactions, Ratings, load, split
from tests.unit.data.ratings.layouts import CSV, ROWS, ml_100k, write


def test_the_fingerprint_follows_the_contents(tmp_path):
    path = write(tmp_path / "a.csv", CSV + ROWS)
    same = write(tmp_path / "other.csv", CSV + ROWS)
    assert load(path).fingerprint() == load(same).fingerprint()
    changes = [("u1,b,1", "u1,b,2"), ("Plain", "Plane"), (",20,", ",21,"), ("u2", "u3")]
    prints = {
        load(write(tmp_path / "b.csv", CSV + ROWS.replace(*change))).fingerprint()
        for change in [*changes, ("u1", "u1")]
    }
    assert len(prints) == 5


def many(rows: int = 1000) -> Ratings:
    rng = np.random.default_rng(1)
    pairs = rng.permutation(50 * 40)[:rows]
    times = rng.integers(0, 100, rows)
    interactions = Interactions(
        (pairs // 40).astype(np.int32),
        (pairs % 40).astype(np.int32),
        np.ones(rows, np.float32),
        times,
    )
    ids = np.arange(50).astype(str)
    return Ratings("many", interactions, ids, ids[:40], None, None, None, None, (1, 5))


def keys(rows: Interactions) -> list[int]:
    return (rows.user.astype(int) * 40 + rows.item).tolist()


@pytest.mark.parametrize("by", ["random", "time"])
def test_a_split_is_disjoint_covers_all_and_repeats(by):
    ratings = many()
    parts = split(ratings, by=by, seed=3)
    sets = [keys(part) for part in (parts.train, parts.validation, parts.test)]
    assert [len(each) for each in sets] == [800, 100, 100]
    assert sorted(key for each in sets for key in each) == sorted(keys(ratings.interactions))
    again = split(ratings, by=by, seed=3)
    assert [keys(part) for part in (again.train, again.validation, again.test)] == sets


def test_seeds_differ_and_time_ignores_them():
    ratings = many()
    assert keys(split(ratings, seed=0).test) != keys(split(ratings, seed=1).test)
    assert keys(split(ratings, by="time", seed=0).test) == keys(
        split(ratings, by="time", seed=1).test
    )


def test_a_split_by_time_is_ordered():
    parts = split(many(), by="time", fractions=(0.6, 0.3, 0.1))
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [600, 300, 100]
    assert parts.train.timestamp.max() <= parts.validation.timestamp.min()
    assert parts.validation.timestamp.max() <= parts.test.timestamp.min()


def test_ratings_of_the_same_second_keep_the_order_of_the_file():
    ratings = many()
    ratings.interactions.timestamp[:] = np.arange(1000) % 2
    even = keys(ratings.interactions)[::2]
    assert keys(split(ratings, by="time", fractions=(0.5, 0.25, 0.25)).train) == even


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "tim"}, "did you mean 'time'"),
        ({"seed": -1}, "seed: -1 is below 0"),
        ({"fractions": (0.8, 0.1, 0.2)}, "whose sum is 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "above 0"),
        ({"fractions": (0.9, 0.1)}, "three numbers"),
    ],
)
def test_bad_splits(arguments, message):
    with pytest.raises(UserError, match=message):
        split(many(), **arguments)


def test_too_few_ratings_or_no_times_to_split(tmp_path):
    with pytest.raises(UserError, match="3 ratings are too few"):
        split(load(ml_100k(tmp_path)))
    path = write(tmp_path / "r.csv", "user,item,rating\n1,1,1\n2,2,2\n3,3,3\n")
    with pytest.raises(UserError, match="no timestamps to split by; use by='random'"):
        split(load(path), by="time", fractions=(0.4, 0.3, 0.3))
