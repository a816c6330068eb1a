"""What is refused while ratings are read: where, and how to fix it."""

from __future__ import annotations

import pytest

from raysweep.core.errors import UserError
from raysweep.data.ratings.movielens import load
from tests.unit.data.ratings.layouts import CSV, ROWS, ml_1m, ml_100k, write

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
