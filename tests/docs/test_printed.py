"""Commands that are printed and not run, and those within sentences, exist with their options."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from raysweep.cluster.cli import app

from .pages import PAGES, ROOT, Command, blocks, inline_commands

_PRINTED = [
    command
    for page in PAGES
    for command in [*(c for block in blocks(page) for c in block.commands), *inline_commands(page)]
    if command.text.startswith(("raysweep ", "make ", "python -m ", "python3 -m "))
]
_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _problem(text: str) -> str:
    """What is wrong with a command, or ""."""
    tool, *words = text.split()
    if tool == "make":
        unknown = [word for word in words if word not in _TARGETS]
        return f"the Makefile has no {unknown}" if unknown else ""
    if tool.startswith("python"):
        return _problem_of_module(words[1], words[2:])
    return _problem_of_raysweep(words)


def _problem_of_raysweep(words: list[str]) -> str:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        if re.fullmatch(r"[A-Z…]+", name):  # stands for any of them
            return ""
        if name not in command.commands:
            return f"no command '{name}'"
        command = command.commands[name]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = given - known - {"--help", "-h", "--version"}
    return f"{command.name} has no {', '.join(sorted(unknown))}" if unknown else ""


def _problem_of_module(name: str, words: list[str]) -> str:
    if name == "raysweep":
        return _problem_of_raysweep(words)
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return f"no module {name}"
    if not name.startswith("benchmarks."):
        return ""
    text = Path(spec.origin).read_text() + (ROOT / "benchmarks" / "harness.py").read_text()
    unknown = [word for word in words if word.startswith("--") and f'"{word}"' not in text]
    return f"{name} has no {unknown}" if unknown else ""


@pytest.mark.parametrize("command", _PRINTED, ids=lambda c: f"{c.page}:{c.line} {c.text[:60]}")
def test_a_printed_command_exists_with_its_options(command: Command) -> None:
    assert not _problem(command.text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("raysweep tune sentiment l2 --num-trials 3", "tune has no --num-trials"),
        ("raysweep turn sentiment l2", "no command 'turn'"),
        ("raysweep data get ml-100k", "no command 'get'"),
        ("make coffee", "the Makefile has no ['coffee']"),
        ("python -m benchmarks.nothing", "no module benchmarks.nothing"),
        ("python -m benchmarks.table --slow", "benchmarks.table has no ['--slow']"),
        ("raysweep data fetch NAME --data-dir=…", ""),
    ],
)
def test_what_does_not_exist_is_noticed(text: str, problem: str) -> None:
    assert _problem(text) == problem


def test_a_page_is_read_as_its_author_means_it() -> None:
    text = """
1. A list:
   ```bash
   raysweep tune sentiment l2 \\
       --epochs 3        # it goes on
   # only words
   raysweep predict RUN "a # in a text" < review.txt
   ```
<!-- not run: needs a cluster -->
```console
$ ray up file.yaml
output
```
<!-- setup:
x = 1
-->
```python
y = x + 1
```
```
raysweep report RUN       one page
0.5 of it
```
```text
raysweep is not run here
```
"""
    listed, cluster, python, plain, output = blocks("page.md", text)
    assert [(c.line, c.text) for c in listed.commands] == [
        (4, "raysweep tune sentiment l2 --epochs 3"),
        (7, 'raysweep predict RUN "a # in a text" < review.txt'),
    ]
    assert (cluster.not_run, cluster.commands[0].text) == ("needs a cluster", "ray up file.yaml")
    assert (python.setup, python.text, python.commands) == ("x = 1", "y = x + 1\n", ())
    assert [c.text for c in plain.commands] == ["raysweep report RUN"]
    assert output.commands == ()
