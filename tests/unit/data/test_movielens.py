"""Reading ratings: every layout, every refusal, and the split."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.ratings.movielens import Interactions, Ratings, load, split

CSV = "user,item,rating,timestamp,title\n"
ROWS = 'u1,a,3,10,"Comma, The ""Film"" (1999)"\nu2,b,4.5,20,Plain\nu1,b,1,30,Other\n'


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def ml_100k(folder: Path, encoding: str = "latin-1") -> Path:
    write(folder / "u.data", "10\t2\t3\t881250949\n9\t1\t5\t881250950\n9\t2\t1\t881250951\n")
    action = "0|1" + "|0" * 17
    drama = "0|" * 8 + "1" + "|0" * 10
    items = f"1|Léon (1994)|01-Jan-1994||http://x|{action}\n2|Drama, A (1996)|||http://y|{drama}\n"
    write(folder / "u.item", items + f"3|Unrated (1990)|||http://z|{drama}\n", encoding)
    write(folder / "u.user", "9|20|M|writer|1\n10|40|F|other|2\n11|99|F|none|3\n")
    return folder


def ml_1m(folder: Path) -> Path:
    write(folder / "ratings.dat", "10::2::3::978300760\n9::1::5::978302109\n9::2::1::978301968\n")
    movies = "1::Léon: The Pro (1994)::Action|Drama\n2::Drama, A (1996)::Drama\n"
    write(folder / "movies.dat", movies, "latin-1")
    write(folder / "users.dat", "9::M::18::20::55117\n10::F::56::0::02460\n")
    return folder


def ml_latest(folder: Path) -> Path:
    rows = "userId,movieId,rating,timestamp\r\n10,2,3.0,978300760\r\n9,1,0.5,5\r\n9,2,1.0,6\r\n"
    write(folder / "ratings.csv", rows)
    movies = (
        'movieId,title,genres\n1,"Léon, ""The"" Pro (1994)",Action|Drama\n'
        "2,Nothing,(no genres listed)\n"
    )
    write(folder / "movies.csv", movies)
    return folder


def wheel(folder: Path) -> Path:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    write(folder / "ml-100k.inter", header + "10\t2\t3\t7\n9\t1\t5\t8\n9\t2\t1\t9\n")
    items = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    rows = "1\tLéon\t1994\tAction Drama\n2\tunkonwn\tunkonwn\tunknown\n"
    write(folder / "ml-100k.item", items + rows)
    users = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    write(folder / "ml-100k.user", users + "9\t20\tM\twriter\t1\n10\t40\tF\tother\t2\n")
    return folder


def columns_of(ratings: Ratings) -> list[list[float]]:
    rows = ratings.interactions
    return [rows.user.tolist(), rows.item.tolist(), rows.rating.tolist()]


# Layouts


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


# Refusals: what, where, how to fix it

REFUSED = {
    "nan": ("u1,a,3\nu2,b,nan\n", r"line 3, column 'rating': the rating nan is not a finite"),
    "infinite": ("u1,a,inf\nu2,b,1\n", r"line 2, column 'rating': the rating inf is not a finite"),
    "missing rating": ("u1,a,3\nu2,b,\n", r"line 3, column 'rating': the rating is missing"),
    "missing user": ("u1,a,3\n\n,b,1\n", r"line 4, column 'user': the user is missing"),
    "no number": (
        "u1,a,3\nu2,b,good\n",
        r"line 3, column 'rating': the rating 'good' is not a num",
    ),
    "too few fields": ("u1,a,3\nu2,b\n", r"line 3: 2 fields where 3 are expected"),
    "too many fields": ("u1,a,3\nu2,b,3,4\n", r"line 3: 4 fields where 3 are expected"),
    "duplicate": (
        "u1,a,3\nu2,b,1\n\nu1,a,4\n",
        r"line 5: user 'u1' rated item 'a' before, .*line 2; delete one, or add --data dupli",
    ),
    "no rows": ("", r"holds no ratings"),
    "one user": ("u1,a,3\nu1,b,1\n", r"fewer than 2 users"),
    "one item": ("u1,a,3\nu2,a,1\n", r"fewer than 2 items"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_and_line(case, tmp_path):
    rows, message = REFUSED[case]
    path = write(tmp_path / "r.csv", "user,item,rating\n" + rows)
    with pytest.raises(UserError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_a_line_after_a_quoted_newline_is_counted_right(tmp_path):
    text = 'user,item,rating,title\n1,1,1,"two\nlines"\n2,2,nan,x\n'
    with pytest.raises(UserError, match="line 4, column 'rating'"):
        load(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("rating", ["0", "6", "-1"])
def test_outside_the_scale(rating, tmp_path):
    folder = ml_100k(tmp_path)
    with (folder / "u.data").open("a") as file:
        file.write(f"11\t1\t{rating}\t5\n")
    with pytest.raises(UserError, match=rf"u\.data, line 4.*rating {rating} is outside 1 to 5"):
        load(folder)
    assert load(folder, scale=(-1, 6)).scale == (-1, 6)


def test_a_fault_in_double_colons_names_its_line(tmp_path):
    folder = ml_1m(tmp_path)
    with (folder / "ratings.dat").open("a") as file:
        file.write("11::1::x::5\n")
    with pytest.raises(UserError, match=r"ratings\.dat, line 4, column 'rating': the rating 'x'"):
        load(folder)


def test_a_time_that_is_no_number(tmp_path):
    text = "user,item,rating,timestamp\n1,1,1,5\n2,2,2,2015-01-01\n"
    with pytest.raises(UserError, match=r"line 3, column 'timestamp'.*seconds since 1970"):
        load(write(tmp_path / "a.csv", text))


def test_a_missing_column_names_the_nearest(tmp_path):
    path = write(tmp_path / "r.csv", "user,item,ratting\n1,1,1\n")
    with pytest.raises(UserError, match=r"line 1: no column 'rating'.*did you mean 'ratting'"):
        load(path)
    with pytest.raises(UserError, match="no column 'who' for the user; known: item, ratting, user"):
        load(path, columns={"user": "who"})
    with pytest.raises(UserError, match="no role 'users'; did you mean 'user'"):
        load(path, columns={"users": "user"})


@pytest.mark.parametrize("line", [1, 3])
def test_wrong_encoding(line, tmp_path):
    name = "Léon"
    header, row = (name, "u") if line == 1 else ("title", name)
    text = f"user,item,rating,{header}\nu1,a,1,x\nu2,b,2,{row}\n"
    with pytest.raises(UserError, match=rf"line {line}: not UTF-8 text \(byte 0xe9.*save the file"):
        load(write(tmp_path / "r.csv", text, "latin-1"))


def test_utf_16_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 1: not UTF-8 text"):
        load(write(tmp_path / "r.csv", CSV + ROWS, "utf-16"))


@pytest.mark.parametrize("name", ["r.csv", "u.data", "r.parquet", "r.zip", "r.inter"])
def test_an_empty_file(name, tmp_path):
    path = write(tmp_path / name, "")
    with pytest.raises(UserError, match=r"empty|holds no ratings|no Parquet file|no zip file"):
        load(path)


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds neither u\.data"):
        load(tmp_path)


@pytest.mark.parametrize("scale", [(5, 1), (1, float("inf")), (float("nan"), 5)])
def test_a_bad_scale(scale, tmp_path):
    with pytest.raises(UserError, match="scale:"):
        load(ml_100k(tmp_path), scale=scale)


def test_a_bad_side_table(tmp_path):
    folder = ml_100k(tmp_path)
    write(folder / "u.user", "9|20|M|writer|1\n10|old|F|other|2\n")
    with pytest.raises(UserError, match=r"u\.user, line 2, column 'age': 'old'"):
        load(folder)
    write(folder / "u.user", "9|20|M\n")
    with pytest.raises(UserError, match=r"u\.user, line 1: 3 fields where 5"):
        load(folder)


# Duplicates


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


# Fingerprint and split


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


# The real thing


def test_the_real_ml_100k(sample):
    ratings = load(sample("ml-100k"))
    assert (ratings.num_users, ratings.num_items, len(ratings.interactions)) == (943, 1682, 100_000)
    assert ratings.titles[0] == "Toy Story (1995)"
    assert ratings.genres[0] == ("Animation", "Children's", "Comedy")
    assert ratings.interactions.rating.mean() == pytest.approx(3.52986)
