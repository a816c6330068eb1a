"""Texts as sequences of characters or words: ids, blocks, refusals; and the real sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.texts.characters import SequenceData, load

TEXT = "Abc cab. Abba\n" * 10


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "book.txt", TEXT)


def read(path: Path, **options) -> SequenceData:
    return load(path, **{"sequence_length": 5} | options)


def whole(data: SequenceData) -> str:
    return data.decode(np.concatenate([data.train, data.validation, data.test]))


def test_characters_in_consecutive_blocks(path):
    data = read(path)
    assert data.symbols == ("", "\n", " ", ".", "a", "b", "c")
    assert data.num_symbols == 7
    assert [len(each) for each in (data.train, data.validation, data.test)] == [112, 14, 14]
    assert whole(data) == TEXT.lower()
    assert data.decode(data.validation) == TEXT.lower()[112:126]
    assert data.train.dtype == np.uint8
    assert data.train.min() == 1
    assert "112 training, 14 validation and 14 test characters, 7 symbols" in data.description


def test_case_can_be_kept(path):
    data = read(path, lower=False)
    assert data.symbols[4] == "A"
    assert whole(data) == TEXT
    assert data.decode(data.encode("Abba")) == "Abba"


def test_encode_and_decode(path):
    data = read(path)
    assert data.encode("CAB").tolist() == [6, 4, 5]
    assert data.decode(np.array([0, 0, 6, 4, 5])) == "cab"
    with pytest.raises(UserError, match=r"the character 't' in 'taxx' does not occur"):
        data.encode("taxx")
    with pytest.raises(UserError, match="there are no characters"):
        data.encode("")


def test_words(path):
    data = read(path, unit="words", fractions=(0.6, 0.2, 0.2))
    assert data.symbols == ("", "abba", "abc", "cab", "<rare>")
    assert data.decode(data.train[:4]) == "abc cab abba abc"
    assert data.encode("Cab! never").tolist() == [3, 4]
    with pytest.raises(UserError, match="there are no words"):
        data.encode("?!")


def test_words_are_counted_in_the_training_block(tmp_path):
    text = "a b " * 40 + "late " * 20
    data = read(write(tmp_path / "x.txt", text), unit="words", fractions=(0.6, 0.2, 0.2))
    assert data.symbols == ("", "a", "b", "<rare>")
    assert set(data.test.tolist()) == {3}


@pytest.mark.parametrize(
    ("num_symbols", "kind"), [(255, np.uint8), (256, np.int16), (32768, np.int32)]
)
def test_types(num_symbols, kind, tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + num_symbols)))
    data = read(write(tmp_path / "x.txt", text), lower=False)
    assert data.train.dtype == kind
    assert data.num_symbols == num_symbols + 1
    assert whole(data) == text


def test_line_ends_and_byte_order_mark(path, tmp_path):
    windows = write(tmp_path / "w.txt", b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read(windows).fingerprint() == read(path).fingerprint()


def test_fingerprints(path, tmp_path):
    data = read(path)
    other = write(tmp_path / "y.txt", TEXT.replace("Abba", "Abbb", 1))
    variants = [
        data,
        read(other),
        read(path, lower=False),
        read(path, unit="words", sequence_length=1),
        read(path, fractions=(0.7, 0.2, 0.1)),
    ]
    assert len({each.fingerprint() for each in variants}) == len(variants)
    assert read(path).fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty: there are no characters"),
        ("?!" * 99, {"unit": "words"}, "is empty: there are no words"),
        (
            b"fine\nnot \xe9 fine",
            {},
            r"not utf-8 text: byte 0xe9 at offset 9 \(line 2\).*encoding='latin-1'",
        ),
        (TEXT, {"sequence_length": 14}, r"too short: its blocks have 112, 14, 14 characters"),
        (TEXT, {"sequence_length": 0}, "sequence_length: 0"),
        (TEXT, {"unit": "word"}, "did you mean 'words'"),
        (TEXT, {"encoding": "utf-99"}, "no encoding 'utf-99'"),
        (TEXT, {"fractions": (0.5, 0.5, 0.5)}, "sum is 1"),
    ],
)
def test_refusals(content, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "x.txt", content), **options)


def test_the_longest_sequence_that_fits(path):
    assert len(read(path, sequence_length=13).test) == 14


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "nowhere.txt")


def test_the_real_sample(sample):
    path = sample("nietzsche")
    data = load(path, encoding="latin-1")
    assert data.num_symbols == 60
    assert len(whole(data)) in (600_901, 600_902)  # some copies end with another line break
    assert data.encode("ethics is a basic foundation of all that").tolist()
    with pytest.raises(UserError, match="at offset 394533"):  # lower-cased byte by byte
        load(path)
