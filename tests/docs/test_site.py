"""The site: built from the pages as they are, from this machine alone, with every link checked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .pages import ROOT

pytestmark = pytest.mark.timeout(600)
# What a browser fetches by itself when it shows a page.
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|link(?![^>]*rel=\"?(?:canonical|next|prev)))\b"
    r"[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>|url\([\"']?https?:[^)]*\)|@import[^;]*https?:"
)


def _build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    built = _build(ROOT, out)
    assert built.returncode == 0, built.stderr
    return out


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    for page in pages:
        assert not _LOADED.findall(page.read_text()), page


def test_the_search_knows_pages_and_docstrings(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    locations = {each["location"] for each in index["docs"]}
    for location in ("", "sentiment/", "api/#raysweep.tune", "findings/ratings/report/"):
        assert location in locations
    (learner,) = (
        each
        for each in index["docs"]
        if each["location"] == "api/trainables/#raysweep.trainables.learner.Learner"
    )
    assert "load_data" in json.dumps(index), "methods are in it"
    assert learner["text"]


def test_reports_and_pictures_are_in_the_site(site: Path) -> None:
    for folder in ("findings", "pictures", "examples", "benchmarks"):
        for path in (ROOT / "docs" / folder).rglob("*"):
            if path.is_file() and path.suffix != ".md":
                assert (site / path.relative_to(ROOT / "docs")).is_file()


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """A project of two pages with our settings, to break."""
    settings = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    told = yaml.safe_load(settings)
    del told["plugins"], told["theme"]
    told["markdown_extensions"] = ["toc"]
    told["nav"] = ["index.md", "page.md"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(told))
    (tmp_path / "docs" / "hooks.py").write_text((ROOT / "docs" / "hooks.py").read_text())
    (tmp_path / "README.md").write_text("# Name\n\n[page](docs/page.md#part), `[code](no.md)`\n")
    (tmp_path / "docs" / "page.md").write_text("# Page\n\n## Part\n\n[start](../README.md#name)\n")
    return tmp_path


def test_links_from_file_to_file_become_links_from_page_to_page(small_site: Path) -> None:
    built = _build(small_site, small_site / "site")
    assert built.returncode == 0, built.stderr
    assert 'href="page/#part"' in (small_site / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("README.md", "[no file](docs/nothing.md)", "nothing.md"),
        ("README.md", "[no part](docs/page.md#nothing)", "#nothing"),
        ("README.md", "![no picture](docs/pictures/no.png)", "no.png"),
        ("docs/page.md", "[no file](../benchmarks/nothing.md)", "nothing.md"),
        ("docs/page.md", "[no part](#nothing)", "#nothing"),
        ("docs/other.md", "a page that is missing in the navigation", "other.md"),
    ],
)
def test_a_broken_link_or_a_missing_page_fails(
    small_site: Path, file: str, text: str, problem: str
) -> None:
    with (small_site / file).open("a") as page:
        page.write(f"\n{text}\n")
    built = _build(small_site, small_site / "site")
    assert built.returncode != 0
    assert problem in built.stderr
