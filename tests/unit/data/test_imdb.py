"""IMDB: archive and folder, order, vocabulary, split, cache, refusals; and the real sample."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.tables.stratified import stratified_split
from raysweep.data.texts import imdb
from raysweep.data.texts.encoded import TextData

REVIEWS = {
    "train/neg/0_1.txt": b"bad bad film of the year",
    "train/neg/10_2.txt": b"the bad plot",
    "train/neg/2_2.txt": b"Bad!<br />The end",
    "train/neg/3_4.txt": b"bad",
    "train/pos/0_9.txt": b"the good film",
    "train/pos/1_8.txt": b"good good the",
    "train/pos/2_7.txt": b"good, the best",
    "train/pos/3_7.txt": "good caf\u00e9".encode(),
    "test/neg/0_1.txt": b"bad bad unseen unseen unseen unseen unseen unseen unseen unseen",
    "test/pos/0_9.txt": b"good",
}
OTHERS = {"README": b"x", "train/unsup/0_0.txt": b"the the the the", "train/pos/._1.txt": b"\xff"}


def write_folder(folder: Path, reviews: dict[str, bytes]) -> Path:
    for name, content in reviews.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, reviews: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reversed(reviews.items()):
            info = tarfile.TarInfo(f"aclImdb/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "aclImdb_v1.tar.gz", REVIEWS | OTHERS)


def load(path: Path, **options) -> TextData:
    options = {"vocabulary_size": 6, "length": 4, "validation": 0.25} | options
    return imdb.load(path, progress=False, **options)


def words_of(data: TextData, ids: np.ndarray) -> list[str]:
    return [data.vocabulary.word(k) for k in ids.tolist()]


def test_reads_the_archive(archive):
    data = load(archive)
    assert data.name == "aclImdb_v1"
    assert data.class_names == ("neg", "pos")
    # Counted on all of the training set, not on the test set nor on reviews without a label.
    assert data.vocabulary.words == ("the", "bad", "good", "film")
    assert data.vocabulary.counts.tolist() == [6, 5, 5, 2]
    assert data.test.labels.tolist() == [0, 1]
    assert words_of(data, data.test.ids[1]) == ["", "", "", "good"]
    assert data.test.lengths.tolist() == [4, 1]
    assert [len(each) for each in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert sorted(data.validation.labels.tolist()) == [0, 1]
    assert data.train.ids.dtype == np.int16
    assert data.train.labels.dtype == np.int64


def test_statistics_are_those_of_the_training_set(archive):
    found = load(archive).statistics
    assert (found.num_texts, found.shortest, found.longest, found.num_words) == (8, 1, 6, 11)
    assert found.mean_length == pytest.approx(25 / 8)
    assert found.first_words[:3] == ("the", "bad", "good")


def test_folder_and_archive_give_the_same(archive, tmp_path):
    folder = write_folder(tmp_path / "aclImdb", REVIEWS | OTHERS)
    assert load(folder).fingerprint() == load(archive).fingerprint()


def test_the_split_is_by_seed_and_leaves_ids_and_test_set_alone(archive):
    first, other = load(archive, split_seed=0), load(archive, split_seed=1)
    assert first.fingerprint() == load(archive, split_seed=0).fingerprint() != other.fingerprint()
    assert first.vocabulary.words == other.vocabulary.words
    assert np.array_equal(first.test.ids, other.test.ids)
    rows = sorted(np.concatenate([first.train.ids, first.validation.ids]).tolist())
    assert rows == sorted(np.concatenate([other.train.ids, other.validation.ids]).tolist())


@pytest.mark.parametrize(("split", "block"), [("random", 1), ("films", 100)])
def test_reviews_of_a_film_stay_together(archive, monkeypatch, split, block):
    asked = []

    def spy(*arguments):
        asked.append(arguments[3])
        return stratified_split(*arguments)

    monkeypatch.setattr(imdb, "stratified_split", spy)
    assert len(load(archive, split=split).validation) == len(load(archive).validation)
    assert asked == [block, 1]


def test_reads_once(archive, monkeypatch):
    first = load(archive)
    monkeypatch.setattr(imdb, "_reviews", lambda *_: pytest.fail("read again"))
    assert load(archive).fingerprint() == first.fingerprint()
    assert load(archive, vocabulary_size=5, length=2).train.ids.shape == (6, 2)


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_reads_again_what_changed(kind, archive, tmp_path):
    changed = REVIEWS | {"train/neg/3_4.txt": b"bad new new new new new new new"}
    if kind == "archive":
        path = archive
        load(path)
        write_archive(path, changed)
    else:
        path = write_folder(tmp_path / "aclImdb", REVIEWS)
        load(path)
        write_folder(path, changed)
    assert load(path).vocabulary.words[0] == "new"


def test_a_damaged_cache_is_made_anew(archive, tmp_path):
    expected = load(archive).fingerprint()
    (codes,) = (tmp_path / "cache").rglob("codes.npy")
    codes.write_bytes(codes.read_bytes()[:-40])
    assert load(archive).fingerprint() == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train/pos/1_8.txt": b"good \xff"},
            r"train/pos/1_8\.txt is not UTF-8.*0xff at position 6",
        ),
        ({"train/neg/2_2.txt": b" !? "}, r"train/neg/2_2\.txt holds no words"),
        ({"test/pos/0_9.txt": None}, r"no reviews in test/pos"),
    ],
)
@pytest.mark.parametrize("write", [write_archive, write_folder])
def test_refused_reviews(changes, message, write, tmp_path):
    reviews = {name: text for name, text in (REVIEWS | changes).items() if text is not None}
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / "aclImdb.tar.gz", reviews))


def test_refused_files(archive, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "nowhere.tar.gz")
    whole = archive.read_bytes()
    for size in (0, 1, 200, len(whole) - 100, len(whole) - 20, len(whole) - 1):
        half = tmp_path / "half.tar.gz"
        half.write_bytes(whole[:size])
        with pytest.raises(UserError, match="damaged or no archive"):
            load(half)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match=r"validation: 1\.5"):
        load(archive, validation=1.5)
    with pytest.raises(UserError, match=r"vocabulary_size: 2"):
        load(archive, vocabulary_size=2)


def test_the_real_sample(sample):
    """Takes 3 s: reads 25,000 reviews (20,000 of the 25,000 training reviews, 5,000 of the test).

    The mean of the whole training set is 237.7, its longest review has 2,493 words.
    """
    data = imdb.load(sample("imdb"), progress=False)
    found = data.statistics
    assert found.first_words == ("the", "and", "a", "of", "to", "is", "br", "in", "it", "i")
    if found.num_texts == 25_000:
        assert (round(found.mean_length, 1), found.longest) == (237.7, 2493)
    else:
        assert found.mean_length == pytest.approx(237.7, abs=1.5)
        assert 1500 < found.longest <= 2493
    assert data.vocabulary.size == 5000
    assert 0.90 < data.vocabulary.counts.sum() / (found.mean_length * found.num_texts) < 0.91
    assert data.train.labels.mean() == data.validation.labels.mean() == 0.5
    assert data.train.ids.shape == (found.num_texts * 9 // 10, 500)
