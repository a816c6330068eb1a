"""Reads what the pages print: commands, blocks of Python, and commands within sentences.

How to write a block that the tests run:

- `bash`, `sh` or `shell` behind the fence: each line is a command. `console`: each line after `$ `
  is one. No language: each line that starts with a name in `TOOLS`. A line that ends in `\\` goes
  on; ` # …`, and what stands behind two or more spaces, is a comment. `< FILE` works, other
  operators of a shell do not.
- `python`: executed; the blocks of a page share their variables.
- `<!-- file: NAME -->` before a fence: the block is written to that file instead.
- `<!-- not run: reason -->` before a fence: its commands are checked, not run.
- `<!-- exits 2 -->` before a fence: the exit code that its commands have.
- `<!-- setup: … -->` before a fence: Python that is executed first.

A cell of a table that is nothing but a `raysweep` command is run as well, unless it holds `…` or
a capital word that stands for anything. RUN and OTHER stand for runs, and some other words for what
`arguments.PLACEHOLDERS` says. Commands within sentences are only checked: they must exist.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Command", "blocks", "cells", "inline_commands"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/findings/README.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
TOOLS = {
    *("raysweep", "make", "python", "python3", "ray", "pip", "docker", "kubectl", "helm", "aws"),
    *("gcloud", "git", "cd", "export", "source", "ssh", "ssh-copy-id", "apt-get", "pytest"),
}
_SHELLS = ("bash", "sh", "shell", "console", "")
_FENCE = re.compile(
    r"^ *(?:(?:[-*+]|\d+\.) +)?```(?P<language>\w*)[^\n`]*\n(?P<text>.*?)^ *```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
# The comment that belongs to a fence ends on the line before it.
_DIRECTIVE = re.compile(
    r"<!--\s*(not run|exits|file|setup)\b:?\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL
)
_COMMENT = re.compile(r"""^((?:[^'"#]|'[^']*'|"[^"]*"|(?<=\S)#)*?)(?:\s+#\s.*|^#.*)$""")
_INLINE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Command:
    """A printed command.

    Attributes:
        page: the file it stands in, from the repository's root.
        line: its line there, from 1.
        text: without comment, on one line.
    """

    page: str
    line: int
    text: str


@dataclass(frozen=True)
class Block:
    """A fenced block and what the comment before it says.

    Attributes:
        page: the file it stands in.
        line: of its first line of text, from 1.
        language: of the fence.
        text: what stands in it.
        commands: of a block for the shell.
        not_run: why it is not run, or "".
        exits: the exit code of its commands.
        file: the file that it is to be written to, or "".
        setup: Python to execute before it.
    """

    page: str
    line: int
    language: str
    text: str
    commands: tuple[Command, ...] = ()
    not_run: str = ""
    exits: int = 0
    file: str = ""
    setup: str = ""


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order.

    Args:
        page: the file, from the repository's root.
        text: its text; read from the file by default.
    """
    if text is None:
        text = (ROOT / page).read_text()
    return [_block(page, text, match) for match in _FENCE.finditer(text)]


def _block(page: str, text: str, match: re.Match[str]) -> Block:
    before = text[: match.start()]
    line = before.count("\n") + 2
    body = textwrap.dedent(match["text"])
    told = _directives(before)
    language = match["language"]
    commands = () if told.get("file") else tuple(_commands(page, line, language, body))
    return Block(
        *(page, line, language, body, commands),
        not_run=told.get("not run", ""),
        exits=int(told.get("exits", 0)),
        file=told.get("file", ""),
        setup=told.get("setup", ""),
    )


def _directives(before: str) -> dict[str, str]:
    """The comments that end a text, last one first."""
    told: dict[str, str] = {}
    while match := _DIRECTIVE.search(before):
        told[match[1]] = match[2]
        before = before[: match.start()]
    return told


def _commands(page: str, line: int, language: str, body: str) -> Iterator[Command]:
    if language not in _SHELLS:
        return
    start, whole = line, ""
    for number, text in enumerate(body.splitlines(), line):
        start, whole = (number, text.strip()) if not whole else (start, f"{whole} {text.strip()}")
        if whole.endswith("\\"):
            whole = whole[:-1].rstrip()
            continue
        command, whole = whole, ""
        if language == "console":
            command = command[2:] if command.startswith("$ ") else ""
        command = _without_comment(command)
        first = command.split(" ")[0]
        if command and (first in TOOLS or language not in ("", "console")):
            yield Command(page, start, command)


def _without_comment(text: str) -> str:
    if match := _COMMENT.match(text):
        text = match[1]
    return re.split(r"\s{2,}", text.strip())[0]


def cells(page: str) -> list[Block]:
    """Cells of tables that are nothing but a `raysweep` command, as blocks of one command."""
    return [
        Block(page, number, "", text, (Command(page, number, text),))
        for number, line in enumerate((ROOT / page).read_text().splitlines(), 1)
        for text in re.findall(r"\| `(raysweep [^`]+)` (?=\|)", line)
    ]


def inline_commands(page: str) -> list[Command]:
    """Commands in backticks within sentences and tables: `raysweep …`, `make …`, `python -m …`."""
    text = (ROOT / page).read_text()
    text = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    return [
        Command(page, text.count("\n", 0, match.start()) + 1, " ".join(match[1].split()))
        for match in _INLINE.finditer(text)
        if re.match(r"(raysweep|make|python3? -m)\s", match[1])
    ]
