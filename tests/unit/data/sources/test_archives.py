"""Archives are unpacked whole, or not at all."""

from __future__ import annotations

import os
import tarfile
import zipfile

import pytest

from raysweep.core.errors import UserError
from raysweep.data.sources.archives import unpack
from tests.unit.data.sources.toys import PAYLOAD, zipped


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_members_that_would_escape_are_refused(name, suffix, tmp_path):
    archive = tmp_path / f"bad{suffix}"
    if suffix == ".zip":
        archive.write_bytes(zipped({"good.txt": b"x", name: b"evil"}))
    else:
        with tarfile.open(archive, "w:gz") as file:
            file.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="would land outside its folder"):
        unpack(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_links_are_refused(suffix, tmp_path):
    archive = tmp_path / f"bad{suffix}"
    if suffix == ".zip":
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(link, "/etc")
    else:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(member)
    with pytest.raises(UserError, match="is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tar_is_unpacked_without_its_top_folder(tmp_path):
    (tmp_path / "source" / "pos").mkdir(parents=True)
    (tmp_path / "source" / "pos" / "1.txt").write_text("good")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "source", arcname="./aclImdb")
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "pos" / "1.txt").read_text() == "good"


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_cut_archive_is_refused_and_leaves_nothing(suffix, tmp_path):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".zip":
        whole.write_bytes(PAYLOAD)
    else:
        (tmp_path / "big.bin").write_bytes(os.urandom(100_000))
        with tarfile.open(whole, "w:gz") as tar:
            tar.add(tmp_path / "big.bin", arcname="big.bin")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(UserError, match="damaged or no archive"):
        unpack(cut, tmp_path / "in" / "out")
    assert not list((tmp_path / "in").iterdir())
