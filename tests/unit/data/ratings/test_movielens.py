"""Reading ratings: every layout, and tables of your own."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from raysweep.data.ratings.movielens import load
from tests.unit.data.ratings.layouts import (
    CSV,
    ROWS,
    columns_of,
    ml_1m,
    ml_100k,
    ml_latest,
    wheel,
    write,
)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_ml_100k(tmp_path, encoding):
    ratings = load(ml_100k(tmp_path / "ml-100k", encoding))
    assert ratings.name == "ml-100k"
    assert ratings.user_ids.tolist() == ["9", "10"]  # by number, not as text
    assert ratings.item_ids.tolist() == ["1", "2"]
    assert columns_of(ratings) == [[1, 0, 0], [1, 0, 1], [3, 5, 1]]
    assert ratings.interactions.timestamp.tolist() == [881250949, 881250950, 881250951]
    dtypes = [getattr(ratings.interactions, n).dtype for n in ("user", "item", "rating")]
    assert dtypes == [np.int32, np.int32, np.float32]
    assert ratings.titles.tolist() == ["Léon (1994)", "Drama, A (1996)"]
    assert ratings.genres == (("Action",), ("Drama",))
    assert ratings.scale == (1, 5)
    assert ratings.item_features.names == ("genre=Action", "genre=Drama", "year")
    np.testing.assert_array_equal(ratings.item_features.values, [[1, 0, -1], [0, 1, 1]])
    assert ratings.user_features.names == (
        *("gender=F", "gender=M", "occupation=other", "occupation=writer", "age"),
    )
    np.testing.assert_array_equal(ratings.user_features.values, [[0, 1, 0, 1, -1], [1, 0, 1, 0, 1]])
    assert ratings.user_features.values.dtype == np.float32


def test_ml_1m(tmp_path):
    ratings = load(ml_1m(tmp_path / "ml-1m"))
    assert columns_of(ratings) == [[1, 0, 0], [1, 0, 1], [3, 5, 1]]
    assert ratings.titles.tolist() == ["Léon: The Pro (1994)", "Drama, A (1996)"]
    assert ratings.genres == (("Action", "Drama"), ("Drama",))
    assert ratings.scale == (1, 5)
    assert "occupation=writer" in ratings.user_features.names


def test_ml_latest(tmp_path):
    ratings = load(ml_latest(tmp_path / "ml-latest-small"))
    assert columns_of(ratings) == [[1, 0, 0], [1, 0, 1], [3, 0.5, 1]]
    assert ratings.titles.tolist() == ['Léon, "The" Pro (1994)', "Nothing"]
    assert ratings.genres == (("Action", "Drama"), ())
    assert ratings.scale == (0.5, 5)
    assert ratings.user_features is None


def test_wheel(tmp_path):
    ratings = load(wheel(tmp_path / "ml-100k"))
    assert columns_of(ratings) == [[1, 0, 0], [1, 0, 1], [3, 5, 1]]
    assert ratings.titles.tolist() == ["Léon (1994)", "unkonwn"]
    assert ratings.genres == (("Action", "Drama"), ())
    assert ratings.scale == (1, 5)
    assert ratings.item_features.names[-1] == "year"
    assert "age" in ratings.user_features.names


@pytest.mark.parametrize("layout", [ml_100k, ml_1m, ml_latest, wheel])
@pytest.mark.parametrize("top", ["", "top/"])
def test_a_zip_of_any_layout_is_the_same(layout, top, tmp_path):
    folder = layout(tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{top}{path.name}")
    zipped = load(tmp_path / "ml.zip")
    assert zipped.name == "ml"
    assert zipped.fingerprint() == load(folder).fingerprint()


def test_a_zip_of_a_single_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("mine.csv", CSV + ROWS)
    assert len(load(tmp_path / "mine.zip").interactions) == 3


def test_csv_of_your_own(tmp_path):
    ratings = load(write(tmp_path / "mine.csv", CSV + ROWS))
    assert ratings.name == "mine"
    assert ratings.user_ids.tolist() == ["u1", "u2"]
    assert ratings.titles.tolist() == ['Comma, The "Film" (1999)', "Plain"]
    assert ratings.interactions.timestamp.tolist() == [10, 20, 30]
    assert ratings.scale == (1, 4.5)
    assert ratings.genres is None


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_column_names_by_option(suffix, tmp_path):
    import pandas as pd

    path = tmp_path / f"mine{suffix}"
    table = pd.DataFrame({"who": [7, 8, 7], "noise": "x", "what": [1, 1, 2], "how": [1, 2, 3]})
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    ratings = load(path, columns={"user": "who", "item": "what", "rating": "how"}, scale=(0, 10))
    assert columns_of(ratings) == [[0, 1, 0], [0, 0, 1], [1, 2, 3]]
    assert ratings.user_ids.tolist() == ["7", "8"]
    assert ratings.interactions.timestamp is None
    assert ratings.titles is None
    assert ratings.scale == (0, 10)


def test_parquet_with_timestamps_and_categories(tmp_path):
    import pandas as pd

    table = pd.DataFrame(
        {
            "user": pd.Categorical(["x", "y"]),
            "item": ["a", "b"],
            "rating": [1.5, 2.5],
            "timestamp": pd.to_datetime(["1970-01-01 00:01", "1970-01-01 00:02"]),
        }
    )
    table.to_parquet(tmp_path / "mine.parquet")
    assert load(tmp_path / "mine.parquet").interactions.timestamp.tolist() == [60, 120]


def test_ids_keep_their_spelling(tmp_path):
    text = "user,item,rating\n007,a,1\n7,b,2\n10,a,3\n"
    assert load(write(tmp_path / "a.csv", text)).user_ids.tolist() == ["007", "7", "10"]


def test_a_byte_order_mark_and_semicolons(tmp_path):
    text = "\ufeffuser;item;rating\n1;1;1\n2;2;2\n"
    assert len(load(write(tmp_path / "a.csv", text)).interactions) == 2


def test_items_missing_in_the_side_table_get_zeros(tmp_path):
    folder = ml_latest(tmp_path)
    write(folder / "movies.csv", "movieId,title,genres\n1,One (2000),Drama\n")
    ratings = load(folder)
    assert ratings.titles.tolist() == ["One (2000)", "2"]
    assert ratings.item_features.values[1].tolist() == [0, 0]


# The real thing


def test_the_real_ml_100k(sample):
    ratings = load(sample("ml-100k"))
    assert (ratings.num_users, ratings.num_items, len(ratings.interactions)) == (943, 1682, 100_000)
    assert ratings.titles[0] == "Toy Story (1995)"
    assert ratings.genres[0] == ("Animation", "Children's", "Comedy")
    assert ratings.interactions.rating.mean() == pytest.approx(3.52986)
