"""One wheel, wherever it is built, with everything in it and nothing beside it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .conftest import FOLDERS, ROOT, build_wheel, copy_checkout

pytestmark = pytest.mark.timeout(240)


def _content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        # RECORD has a line for each of the others, and their hashes.
        return {name: file.read(name) for name in file.namelist() if not name.endswith("/RECORD")}


def _without_links(checkout: Path) -> Path:
    """As Git writes it with `core.symlinks=false`: a link is a file that says where it leads."""
    for link in checkout.glob("raysweep/*"):
        if link.is_symlink():
            target = link.readlink()
            link.unlink()
            link.write_text(str(target))
    return checkout


def test_the_wheel_has_every_module_under_the_one_name(wheel: Path) -> None:
    names = set(_content(wheel))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"raysweep"}
    modules = {
        f"raysweep/{path.relative_to(ROOT)}" for f in FOLDERS for path in (ROOT / f).rglob("*.py")
    }
    assert len(modules) > 100
    others = {"py.typed", "__init__.py", "__main__.py", "analysis/report/page.html"}
    expected = modules | {f"raysweep/{name}" for name in others}
    assert {name for name in names if name.startswith("raysweep/")} == expected


def test_a_source_distribution_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    build = f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert _content(build_wheel(unpacked, tmp_path / "wheel")) == _content(wheel)


def test_a_checkout_without_links_and_with_an_earlier_build_gives_the_same_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    checkout = _without_links(copy_checkout(tmp_path / "checkout"))
    code = "import raysweep.data.tables.errors as e; print(e.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(checkout / "data/tables/errors.py"), done.stderr
    gone = checkout / "build/lib/raysweep/gone.py"
    gone.parent.mkdir(parents=True)
    gone.write_text("raise RuntimeError('an earlier build had this module')\n")
    assert _content(build_wheel(checkout, tmp_path / "wheel")) == _content(wheel)
