"""Lists of images: labels and splits from folders and CSV files, in a fixed mixed order."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.images.lists import list_images, read_image


def tree(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return str(folder)


def rows(uri: str) -> dict[str, tuple[str, str]]:
    listed = list_images(uri)
    names = [*listed.classes, ""]
    assert len(set(listed.ids)) == len(listed)
    return {
        path: (names[label], split)
        for path, label, split in zip(listed.ids, listed.labels, listed.splits, strict=True)
    }


def test_split_and_class_are_the_names_of_folders(tmp_path: Path) -> None:
    uri = tree(
        tmp_path,
        *("train/cats/1.jpg", "train/dogs/2.JPEG", "valid/cats/deep/3.png", "test/4.jpg"),
        *("train/cats/notes.txt", "train/.DS_Store", ".cache/x.jpg", "README.md", "labels.csv"),
    )
    assert rows(uri) == {
        "train/cats/1.jpg": ("cats", "train"),
        "train/dogs/2.JPEG": ("dogs", "train"),
        "valid/cats/deep/3.png": ("cats", "valid"),
        "test/4.jpg": ("", "test"),
        "train/cats/notes.txt": ("cats", "train"),
    }


def test_without_splits_the_split_is_called_all(tmp_path: Path) -> None:
    uri = tree(tmp_path, "cats/1.jpg", "dogs/2.jpg", "3.jpg", "notes.txt")
    assert rows(uri) == {
        "cats/1.jpg": ("cats", "all"),
        "dogs/2.jpg": ("dogs", "all"),
        "3.jpg": ("", "all"),
    }


def test_the_order_is_mixed_and_always_the_same(tmp_path: Path) -> None:
    names = [f"{kind}/{n:03}.jpg" for kind in ("a", "b") for n in range(60)]
    uri = tree(tmp_path, *names)
    first, again = list_images(uri), list_images(uri + "/")
    assert first.ids == again.ids
    assert first.fingerprint == again.fingerprint
    assert 20 < int(first.labels[:60].sum()) < 40, "both classes in the first half"


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    uri = tree(tmp_path, "a/1.jpg", "b/2.jpg")
    before = list_images(uri).fingerprint
    (tmp_path / "a/1.jpg").write_bytes(b"another length")
    changed = list_images(uri).fingerprint
    tree(tmp_path, "b/3.jpg")
    assert len({before, changed, list_images(uri).fingerprint}) == 3


def test_a_csv_file_names_paths_labels_and_splits(tmp_path: Path) -> None:
    tree(tmp_path, "x/1.jpg", "2.jpg")
    other = tmp_path / "x/1.jpg"
    path = tmp_path / "list.csv"
    path.write_text(f'\ufeffPath, label,split\n"{other}",cat,train\n2.jpg,,\n', encoding="utf-8")
    assert rows(str(path)) == {str(other): ("cat", "train"), "2.jpg": ("", "all")}
    storage = Storage(list_images(str(path)).root)
    assert read_image(storage, "2.jpg") == b"2.jpg"
    assert read_image(storage, str(other)) == b"x/1.jpg"
    assert read_image(storage, f"file://{other}") == b"x/1.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,x\n", "line 1: no column 'path'"),
        ("", "line 1: no column 'path'"),
        ("path,label\na.jpg,x\n,y\n", "line 3: no path"),
        ("path\na.jpg\nb.jpg\na.jpg\n", "line 4: a.jpg is in line 2, too"),
        ("path,split\na.jpg,../up\n", r"line 2: a split cannot be called '\.\./up'"),
        ("path\n", "holds no images"),
    ],
)
def test_wrong_lines_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        list_images(str(path))


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_images(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no such file"):
        list_images(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UserError, match="holds no images"):
        list_images(str(tmp_path))


def test_an_object_store_is_listed_like_a_folder(tmp_path: Path) -> None:
    names = ("train/a/1.jpg", "train/b/2.jpg")
    uri = tree(tmp_path, *names)
    store = fsspec.filesystem("memory")
    for name in names:
        store.pipe(f"/{tmp_path.name}/{name}", name.encode())
    try:
        remote = list_images(f"fsspec+memory://{tmp_path.name}")
        assert remote.ids == list_images(uri).ids
        assert remote.fingerprint == list_images(uri).fingerprint
        assert read_image(Storage(remote.root), names[0]) == names[0].encode()
    finally:
        store.rm(f"/{tmp_path.name}", recursive=True)
