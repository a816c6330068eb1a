"""Ratings that are there twice, and tables of many blocks."""

from __future__ import annotations

import pytest

from raysweep.core.errors import UserError
from raysweep.data.ratings.movielens import load
from tests.unit.data.ratings.layouts import ml_100k, write


@pytest.mark.parametrize(
    ("policy", "ratings", "times"),
    [
        ("first", [1, 2, 4], [1, 2, 4]),
        ("last", [2, 6, 4], [2, 3, 4]),
        ("mean", [2, 3.5, 4], [2, 3, 4]),
    ],
)
def test_duplicate_policies(policy, ratings, times, tmp_path):
    text = "user,item,rating,timestamp\n1,1,1,1\n2,2,2,2\n1,1,6,3\n1,2,4,4\n"
    rows = load(write(tmp_path / "r.csv", text), duplicates=policy).interactions
    assert rows.rating.tolist() == ratings
    assert rows.timestamp.tolist() == times
    assert len(set(zip(rows.user.tolist(), rows.item.tolist(), strict=True))) == 3


def test_many_duplicates_keep_the_order_of_the_file(tmp_path):
    rows = "".join(f"{k % 3},{k % 3},1,{k}\n" for k in range(3000))
    path = write(tmp_path / "r.csv", "user,item,rating,timestamp\n" + rows)
    assert load(path, duplicates="first").interactions.timestamp.tolist() == [0, 1, 2]
    assert load(path, duplicates="last").interactions.timestamp.tolist() == [2997, 2998, 2999]


def test_an_unknown_policy(tmp_path):
    with pytest.raises(UserError, match="did you mean 'last'"):
        load(ml_100k(tmp_path), duplicates="lasst")


def test_many_batches_are_joined_right(tmp_path, monkeypatch):
    """Ids, titles and the line of a fault must not depend on where a block ends."""
    monkeypatch.setattr("raysweep.data.tables.streams._BLOCK_BYTES", 2000)
    rows = [f"{k % 97},{k // 97},{k % 5 + 1},T{k // 97}\n" for k in range(5000)]
    path = write(tmp_path / "r.csv", "user,item,rating,title\n" + "".join(rows))
    ratings = load(path)
    rows_read = ratings.interactions
    assert ratings.user_ids[rows_read.user].tolist() == [str(k % 97) for k in range(5000)]
    assert ratings.item_ids[rows_read.item].tolist() == [str(k // 97) for k in range(5000)]
    assert ratings.titles[rows_read.item].tolist() == [f"T{k // 97}" for k in range(5000)]
    write(path, "user,item,rating,title\n" + "".join([*rows, "1,999,nan,x\n"]))
    with pytest.raises(UserError, match="line 5002"):
        load(path)
