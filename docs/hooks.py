"""Hooks of MkDocs: pages of the site that lie outside docs/, and links to and from them.

README.md is the front page. Links are written as GitHub reads them, from file to file. Those that
leave docs/ are turned into links between pages here, so that MkDocs checks all of them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# A file of the repository, and its page in the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "docs/benchmarks": "benchmarks/index.md",
}
# `](target)` and `src="target"`, without addresses, anchors of the same page and code.
_LINK = re.compile(r"(\]\(|src=\")(?![a-z]+:|#)([^)\s\"#]+)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/."""
    for path, uri in PAGES.items():
        if (ROOT / path).is_file():
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links from file to file into links from page to page."""
    pages = {uri: path for path, uri in reversed(PAGES.items())}
    uri = page.file.src_uri
    path = pages.get(uri, f"docs/{uri}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        to = PAGES.get(target) or posixpath.relpath(target, "docs")
        return match[1] + posixpath.relpath(to, posixpath.dirname(uri) or ".")

    parts = _CODE.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(link, part) for i, part in enumerate(parts))
