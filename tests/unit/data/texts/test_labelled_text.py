"""Texts of one's own: every format, the split, what is smaller than asked for, every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysweep.core.errors import UserError
from raysweep.data.texts.encoded import TextData
from raysweep.data.texts.own_texts import load

NOUNS = ["film", "plot", "actor", "ending"]
ROWS = [
    (f'{"good" if k % 2 else "bad"} {NOUNS[k % 4]}, "number"\nn{k}', "yes" if k % 2 else "no")
    for k in range(40)
]


def read(path: Path, **options) -> TextData:
    return load(path, progress=False, **options)


def table(rows: list[tuple] = ROWS, text: str = "text", label: str = "label") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[text, label]).assign(other=1)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_as(kind: str, folder: Path, rows: list[tuple] = ROWS) -> Path:
    path = folder / f"mine.{kind}"
    if kind == "folder":
        for number, (text, label) in enumerate(rows):
            (path / label).mkdir(parents=True, exist_ok=True)
            (path / label / f"{number:03}.txt").write_text(text)
        (path / ".hidden").mkdir()
    elif kind == "parquet":
        table(rows).to_parquet(path)
    elif kind == "jsonl":
        lines = (json.dumps({"label": label, "text": text}) for text, label in rows)
        path.write_text("\n\n".join(lines))
    else:
        separator = {"csv": ",", "tsv": "\t", "semicolon.csv": ";"}[kind]
        table(rows).to_csv(path, sep=separator, index=False)
    return path


def counts_of(data: TextData) -> list[list[int]]:
    sets = (data.train, data.validation, data.test)
    return [np.bincount(each.labels, minlength=data.num_classes).tolist() for each in sets]


# Formats


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon.csv", "jsonl", "parquet", "folder"])
def test_formats(kind, tmp_path):
    data = read(write_as(kind, tmp_path))
    assert data.class_names == ("no", "yes")
    assert counts_of(data) == [[16, 16], [2, 2], [2, 2]]
    by_class = {"good": 1, "bad": 0}
    for each in (data.train, data.validation, data.test):
        for ids, label, length in zip(each.ids, each.labels, each.lengths, strict=True):
            words = [data.vocabulary.word(k) for k in ids[-length:]]
            assert by_class[words[0]] == label
            assert words[2] == "number"
            assert not ids[:-length].any()


def test_all_formats_of_a_table_give_the_same(tmp_path):
    kinds = ("csv", "tsv", "jsonl", "parquet")
    assert len({read(write_as(kind, tmp_path)).fingerprint() for kind in kinds}) == 1


def test_tsv_without_quoting(tmp_path):
    rows = [(f'"Good" said he {k}', "a") for k in range(5)] + [(f'"bad {k}', "b") for k in range(5)]
    lines = "\n".join(f"{text}\t{label}" for text, label in rows)
    data = read(write(tmp_path / "mine.tsv", f"sentence\tlabel\n{lines}\n"))
    assert sum(map(sum, counts_of(data))) == 10


def test_columns_are_found_or_named(tmp_path):
    path = tmp_path / "mine.csv"
    table(text="Review", label="SENTIMENT").to_csv(path, index=False)
    assert read(path).num_classes == 2
    table(text="what he wrote", label="stars").to_csv(path, index=False)
    assert read(path, text_column="what he wrote", label_column="stars").num_classes == 2
    with pytest.raises(UserError, match=r"no column 'star'; did you mean 'stars'\?.*label_column"):
        read(path, text_column="what he wrote", label_column="star")
    with pytest.raises(UserError, match="no column named like a text; its columns: what he wrote"):
        read(path)
    with pytest.raises(UserError, match="both 'stars'"):
        read(path, text_column="stars", label_column="stars")


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    lines = "\r\n".join(f"{text.splitlines()[0]!r},{label}" for text, label in ROWS[:20])
    lines = lines.replace(', "number"', "")
    data = read(write(tmp_path / "mine.csv", b"\xef\xbb\xbf" + f"text,label\r\n{lines}".encode()))
    assert data.class_names == ("no", "yes")


def test_labels_that_are_numbers_are_ordered_as_such(tmp_path):
    rows = [(f"text number {k}", [10, 9, 2][k % 3]) for k in range(30)]
    assert read(write_as("parquet", tmp_path, rows)).class_names == ("2", "9", "10")
    rows = [(text, float(label)) for text, label in rows]
    assert read(write_as("csv", tmp_path, rows)).class_names == ("2", "9", "10")


def test_a_very_long_text(tmp_path):
    rows = [*ROWS, ("word " * 60_000, "yes")]
    assert read(write_as("csv", tmp_path, rows), length=50).length <= 50


# What is smaller than asked for


def test_says_what_is_smaller_than_asked_for(tmp_path):
    data = read(write_as("csv", tmp_path), vocabulary_size=5000, length=500)
    words = {word for word in data.vocabulary.words if word.startswith("n")} - {"number"}
    assert len(words) == 32  # n0 to n39, but for those in the validation and test sets
    assert data.vocabulary.size == 2 + 32 + 7
    assert data.length == 4
    assert "the training texts have 39 words, 5,000 asked for" in data.notes
    assert "the longest training text has 4 words, 500 asked for" in data.description
    asked = read(write_as("csv", tmp_path), vocabulary_size=10, length=3)
    assert (asked.vocabulary.size, asked.length, asked.notes) == (10, 3, ())


def test_words_of_other_sets_are_rare(tmp_path):
    data = read(write_as("csv", tmp_path))
    assert (data.test.ids[:, -1] == data.vocabulary.rare_id).all()
    assert (data.train.ids[:, -1] != data.vocabulary.rare_id).all()


def test_classes_of_few_texts(tmp_path):
    data = read(write_as("csv", tmp_path, [*ROWS, ("seldom", "odd"), ("once", "one")]))
    assert data.class_names == ("no", "odd", "one", "yes")
    assert counts_of(data)[0][1:3] == [1, 1]
    assert "too few texts to be in every set: 'odd', 'one'" in data.description


def test_texts_without_words(tmp_path):
    rows = [*ROWS[:5], ("  ", "yes"), ("?!", "no"), *ROWS[5:]]
    path = write_as("parquet", tmp_path, rows)
    with pytest.raises(UserError, match=r"mine\.parquet, row 6: the text is empty"):
        read(path)
    data = read(path, empty="skip")
    assert "2 texts without words left out" in data.description
    assert data.fingerprint() == read(write_as("csv", tmp_path, ROWS)).fingerprint()
    with pytest.raises(UserError, match="did you mean 'skip'"):
        read(path, empty="skp")


# Refusals

HEAD = "text,label\n"
GOOD = HEAD + "".join(f"some text {k},{'ab'[k % 2]}\n" for k in range(20))
OBJECT = '{"text": "a", "label": "b"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", GOOD.encode() + b"caf\xe9,a\n", r"x\.csv, line 22: not UTF-8 text \(byte 0xe9"),
        ("x.csv", GOOD + ",a\n", r"line 22: the text is empty"),
        ("x.csv", GOOD + "fine,\n", r"line 22, column 'label': the label is missing"),
        ("x.csv", GOOD + "fine,NaN\n", r"line 22, column 'label': the label is missing"),
        ("x.csv", HEAD + '"two\nlines",a\n\nlast,\n', r"line 5, column 'label': the label is"),
        ("x.csv", GOOD + "one, two,a\n", r"line 22: 3 fields where 2 are expected"),
        ("x.csv", GOOD + '"open,a\nb,a\n', r"line 22: unexpected end of data"),
        ("x.tsv", "text\tlabel\na\tb\tc\n", r"line 2: 3 fields"),
        ("x.csv", HEAD + "one,a\ntwo,a\n", "column 'label' of .* only the class 'a'"),
        ("x.csv", HEAD + "".join(f"t {k},{k}\n" for k in range(9)), "9 different labels for 9"),
        ("x.csv", HEAD, "holds no texts"),
        ("x.csv", "", "no column named like a text"),
        ("x.csv", "text,text,label\na,b,c\n", "two columns 'text'"),
        ("x.csv", HEAD + "one,a\ntwo,b\n", "2 rows are too few to split"),
        ("x.txt", "a", "cannot tell what it holds"),
        ("x.jsonl", OBJECT + "{oops}\n", r"line 2: not JSON"),
        ("x.jsonl", OBJECT + "[1]\n", r"line 2: not an object"),
        ("x.jsonl", OBJECT + "null\n", r"line 2: not an object"),
        ("x.jsonl", OBJECT + '{"txt": "a", "label": "b"}\n', "line 2 has no 'text'; did you mean"),
        ("x.jsonl", OBJECT + '{"text": "a", "label": NaN}\n', "line 2, column 'label': the label"),
        ("x.jsonl", OBJECT + '{"text": "a", "label": [1]}\n', "line 2, column 'label': the label"),
        (
            "x.jsonl",
            OBJECT + '{"text": 5, "label": "b"}\n',
            "line 2, column 'text': '5' is no text",
        ),
        ("x.jsonl", OBJECT.encode() + b'{"text": "\xe9"}\n', r"line 2: not UTF-8"),
        ("x.parquet", "no", "not readable as Parquet"),
    ],
)
def test_refused_tables(name, content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / name, content))


def test_refused_parquet_label(tmp_path):
    table([*ROWS, ("fine", None)]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"row 41, column 'label': the label is missing"):
        read(tmp_path / "x.parquet")


def test_refused_folders(tmp_path):
    path = write_as("folder", tmp_path)
    with pytest.raises(UserError, match="leave text_column"):
        read(path, text_column="text")
    (path / "no" / "bad.txt").write_bytes(b"fine\nnot \xff\n")
    with pytest.raises(UserError, match=r"no/bad\.txt, line 2: not UTF-8"):
        read(path)
    (path / "no" / "bad.txt").write_bytes(b"\n")
    with pytest.raises(UserError, match=r"mine\.folder/no/bad\.txt: the text is empty"):
        read(path)
    outer = tmp_path / "outer"
    outer.mkdir()
    with pytest.raises(UserError, match="holds no texts"):
        read(outer)
    path.rename(outer / "train")
    with pytest.raises(UserError, match=r"outer/train holds no text files; its folder 'no' has"):
        read(outer)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "nowhere")


def test_refused_arguments(tmp_path):
    path = write_as("csv", tmp_path)
    with pytest.raises(UserError, match="sum is 1"):
        read(path, fractions=(0.8, 0.1, 0.2))
    with pytest.raises(UserError, match="length: 0"):
        read(path, length=0)
    with pytest.raises(UserError, match="vocabulary_size: 1"):
        read(path, vocabulary_size=1)
