"""Words, vocabularies, padded arrays, stratified splits, and the cache of prepared data."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.sources.prepared import prepared
from raysweep.data.tables.stratified import stratified_split
from raysweep.data.texts.vocabulary import Corpus, Vocabulary, tokenize, tokenize_all


def vocabulary_of(texts: list[str], size: int) -> Vocabulary:
    corpus = tokenize_all(texts)
    return Vocabulary.build(corpus.words, corpus.counts(), size)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A GOOD film, really?!", ["a", "good", "film", "really"]),
        ("It's well-made.<br /><br />Don't", ["it's", "well", "made", "br", "br", "don't"]),
        ("under_score\tand\nline", ["under", "score", "and", "line"]),
        ("“It’s” — fine…", ["it's", "fine"]),
        ("CAFE\u0301", ["café"]),  # one character, whichever way it is written
        (" ?! ", []),
    ],
)
def test_tokenize(text, words):
    assert tokenize(text) == words


def test_tokenize_drops_what_keras_drops():
    from string import punctuation

    assert tokenize("a".join(punctuation.replace("'", ""))) == ["a"] * (len(punctuation) - 2)
    assert tokenize("a'b") == ["a'b"]


def test_vocabulary_is_in_order_of_frequency_then_of_the_alphabet():
    vocabulary = vocabulary_of(["b b b c a a d", "c c d e"], size=6)
    assert vocabulary.words == ("b", "c", "a", "d")
    assert vocabulary.counts.tolist() == [3, 3, 2, 2]
    assert (vocabulary.size, vocabulary.rare_id, vocabulary.num_distinct) == (6, 5, 5)
    assert [vocabulary.word(k) for k in range(6)] == ["", "b", "c", "a", "d", "<rare>"]
    with pytest.raises(IndexError):
        vocabulary.word(6)


def test_vocabulary_does_not_depend_on_the_order_of_texts():
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in generator.integers(0, 60, 20)) for _ in range(20)]
    for size in (3, 10, 30, 62, 100):
        expected = vocabulary_of(texts, size)
        assert vocabulary_of(texts[::-1], size).words == expected.words
        counts = dict(zip(expected.words, expected.counts.tolist(), strict=True))
        assert list(counts) == sorted(counts, key=lambda word: (-counts[word], word))
        assert expected.size == min(size, 62)


def test_the_reference_vocabulary_gives_rarer_words_the_last_id():
    texts = [" ".join(f"w{k:04}" for k in range(5100)), " ".join(f"w{k:04}" for k in range(4998))]
    vocabulary = vocabulary_of(texts, size=5000)
    ids, _ = vocabulary.encode(["w0000 w4997 w4998 never"], length=4)
    assert ids.tolist() == [[1, 4998, 4999, 4999]]


def test_vocabulary_too_small():
    with pytest.raises(UserError, match="vocabulary_size: 2 is below 3"):
        vocabulary_of(["a b"], size=2)


def test_encoding_pads_and_cuts_in_front():
    vocabulary = vocabulary_of(["a a a b b c"], size=5)
    ids, lengths = vocabulary.encode(["a", "c b a x", "", "b c"], length=3)
    assert ids.tolist() == [[0, 0, 1], [2, 1, 4], [0, 0, 0], [0, 2, 3]]
    assert lengths.tolist() == [1, 3, 0, 2]
    assert (ids.dtype, lengths.dtype) == (np.int16, np.int32)


def test_encoding_agrees_with_the_plain_way_and_picks_rows():
    generator = np.random.default_rng(1)
    texts = [" ".join(f"w{k}" for k in generator.integers(0, 90, n)) for n in range(5000, 0, -999)]
    texts = [*texts, *(" ".join(f"w{k % 90}" for k in range(n % 9)) for n in range(5000))]
    corpus, length = tokenize_all(texts), 7
    vocabulary = Vocabulary.build(corpus.words, corpus.counts(), 40)
    rows = generator.permutation(len(texts))
    ids, lengths = corpus.encode(vocabulary, length, rows)
    for row in (0, 1, 4095, 4096, len(rows) - 1, *np.flatnonzero(rows < 6)):
        words = tokenize(texts[rows[row]])[-length:]
        plain = [vocabulary.index.get(word, vocabulary.rare_id) for word in words]
        assert ids[row].tolist() == [0] * (length - len(plain)) + plain
        assert lengths[row] == len(plain)


@pytest.mark.parametrize(("size", "kind"), [(32768, np.int16), (32769, np.int32)])
def test_ids_fit_their_type(size, kind):
    words = [f"w{k}" for k in range(size)]
    corpus = Corpus(words, np.arange(size, dtype=np.int32), np.array([0, size]))
    vocabulary = Vocabulary.build(words, np.ones(size, np.int64), size)
    ids, _ = corpus.encode(vocabulary, length=size)
    assert ids.dtype == kind
    assert ids.min() == 1
    assert ids.max() == vocabulary.rare_id == size - 1


def test_counts_of_some_texts_only():
    corpus = tokenize_all(["a b", "b b", "c"])
    assert dict(zip(corpus.words, corpus.counts(np.array([1, 2])).tolist(), strict=True)) == {
        "a": 0,
        "b": 2,
        "c": 1,
    }


def test_length_too_small():
    with pytest.raises(UserError, match="length: 0 words"):
        vocabulary_of(["a"], size=3).encode(["a"], length=0)


# Splits


def test_neighbours_stay_together_in_blocks():
    labels = np.repeat([0, 1], [1000, 500])
    train, held_out = stratified_split(labels, (0.8, 0.2), seed=1, block=50)
    assert sorted([*train, *held_out]) == list(range(1500))
    assert np.bincount(labels[held_out]).tolist() == [200, 100]
    blocks = np.unique(held_out // 50)
    assert len(blocks) == 6
    assert (np.diff(held_out) == 1).mean() > 0.95
    other = stratified_split(labels, (0.8, 0.2), seed=2, block=50)[1]
    assert other.tolist() != held_out.tolist()


def test_stratified_split_keeps_the_shares_and_every_row():
    labels = np.array([0] * 700 + [1] * 203 + [2] * 10)[np.random.default_rng(0).permutation(913)]
    sets = stratified_split(labels, (0.8, 0.1, 0.1), seed=3)
    assert sorted(np.concatenate(sets).tolist()) == list(range(913))
    assert [np.bincount(labels[rows]).tolist() for rows in sets] == [
        [560, 163, 8],
        [70, 20, 1],
        [70, 20, 1],
    ]
    again = stratified_split(labels, (0.8, 0.1, 0.1), seed=3)
    other = stratified_split(labels, (0.8, 0.1, 0.1), seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(sets, again, strict=True))
    assert not np.array_equal(sets[1], other[1])


def test_small_classes_are_trained_on_first():
    labels = np.array([0] * 20 + [1, 1, 1] + [2, 2] + [3])
    sets = stratified_split(labels, (0.8, 0.1, 0.1), seed=0)
    counts = [np.bincount(labels[rows], minlength=4)[1:].tolist() for rows in sets]
    assert counts == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "fractions", "seed", "message"),
    [
        ([0, 1], (0.8, 0.1, 0.1), 0, "2 rows are too few"),
        ([0] * 9, (0.8, 0.3), 0, "sum is 1"),
        ([0] * 9, (1.0, 0.0), 0, "above 0"),
        ([0] * 9, (float("nan"), 0.5), 0, "above 0"),
        ([0] * 9, (0.5, 0.5), -1, "split_seed: -1"),
    ],
)
def test_refused_splits(labels, fractions, seed, message):
    with pytest.raises(UserError, match=message):
        stratified_split(np.array(labels), fractions, seed)


# The cache


def build_slowly(folder: Path) -> None:
    with (folder.parent / "builds").open("a") as log:
        log.write("x")
    (folder / "half").write_text("1")
    time.sleep(0.15)
    (folder / "whole").write_text("2")


def load_whole(folder: Path) -> str:
    return (folder / "half").read_text() + (folder / "whole").read_text()


def in_process() -> str:
    return prepared("thing", ("key",), build_slowly, load_whole)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


def test_processes_at_once_build_once(cache):
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import {__name__.rpartition('.')[2]} as test; "
    )
    command = [sys.executable, "-c", code + "print(test.in_process())"]
    folder = Path(__file__).parent
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) for _ in range(3)]
    assert [each.communicate()[0].decode().strip() for each in started] == ["12"] * 3
    assert (cache / "builds").read_text() == "x"


def test_a_build_that_fails_leaves_nothing_and_a_damaged_one_is_built_anew(cache):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("1")
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        prepared("thing", ("key",), fail, load_whole)
    assert not [each for each in cache.iterdir() if each.is_dir()]
    assert in_process() == in_process() == "12"
    (folder,) = (each for each in cache.iterdir() if each.is_dir())
    (folder / "whole").unlink()
    assert in_process() == "12"
    assert (cache / "builds").read_text() == "xx"


def test_other_keys_are_built_apart():
    def build(text: str) -> str:
        return prepared(
            "t",
            text,
            lambda folder: _write(folder, text),
            lambda folder: (folder / "f").read_text(),
        )

    assert [build("a"), build("b"), build("a")] == ["a", "b", "a"]


def _write(folder: Path, text: str) -> None:
    (folder / "f").write_text(text)


def test_a_cache_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write to the cache"):
        in_process()
