"""Files of a run: replaced whole or not at all, by path or by URI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from raysweep.core.errors import UserError
from raysweep.core.storage import PATIENCE, Storage


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "new" / "run")
    storage.write("a.bin", b"\x00\xff")
    storage.write("b.txt", "é")
    assert storage.read("a.bin") == b"\x00\xff"
    assert storage.read("b.txt") == "é".encode()
    assert storage.read("a.bin", 1) == b"\x00"
    assert storage.read("a.bin", 0) == b""
    assert files(tmp_path) == ["new/run/a.bin", "new/run/b.txt"]


def test_the_folder_is_made_by_the_first_write_only(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "run")
    assert not storage.exists("a")
    assert not (tmp_path / "run").exists()
    storage.write("a", b"")
    assert storage.exists("a")


def test_names_may_be_nested(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("trials/00001/a", b"x")
    assert (storage / "trials" / "00001").read("a") == b"x"
    assert (storage / "trials/00001").exists("a")
    assert storage.exists("trials/00001")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Storage(tmp_path).read("a")


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_a_write_that_fails_at_the_end_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    storage = Storage(tmp_path)
    storage.write("a", b"old")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(type(error)):
        storage.write("a", b"new")
    assert storage.read("a") == b"old"
    assert files(tmp_path) == ["a"]


def test_a_write_that_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("a", b"old")
    with pytest.raises(TypeError):
        storage.write("a", 5)  # type: ignore[arg-type]
    assert storage.read("a") == b"old"
    assert files(tmp_path) == ["a"]


def test_a_first_write_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk"):
        Storage(tmp_path).write("a", b"new")
    assert files(tmp_path) == []


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    Storage(tmp_path).write("a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o444 == 0o444


def test_all_forms_of_a_local_folder_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    run = tmp_path / "run"
    for form in (run, str(run), f"{run}/", f"file://{run}", f"file://{run}/", "run", "~/run"):
        storage = Storage(form)
        assert storage.local == run, form
        assert storage.uri == str(run), form
    assert (Storage(tmp_path) / "run").local == run


def test_a_relative_folder_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.write("a", b"x")
    assert files(tmp_path) == ["run/a"]


@pytest.mark.parametrize("uri", ["ftp://host/x", "http://host/x", "S3://bucket/x", "s4://b"])
def test_a_scheme_without_a_file_system_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match=r"s3://bucket/folder") as error:
        Storage(uri)
    assert uri in str(error.value)


def test_a_file_system_that_cannot_be_loaded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def from_uri(uri: str) -> None:
            raise OSError("Unable to load libjvm")

    monkeypatch.setattr(pyarrow.fs, "FileSystem", Broken)
    monkeypatch.setenv(PATIENCE, "0")
    with pytest.raises(UserError, match="libjvm"):
        Storage("hdfs://host/x")


def test_an_object_store_is_written_and_read() -> None:
    storage = Storage("mock://bucket/run")
    assert storage.local is None
    assert not storage.exists("a/b")
    with pytest.raises(FileNotFoundError):
        storage.read("a/b")
    storage._fs.create_dir("run/a")  # the stand-in has real folders, an object store has none
    storage.write("a/b", b"one")
    storage.write("a/b", "two!")
    assert storage.exists("a/b")
    assert storage.read("a/b") == b"two!"
    assert storage.read("a/b", 2) == b"tw"
    assert (storage / "a").uri == "mock://bucket/run/a"
