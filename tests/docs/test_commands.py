"""Everything that the pages print as a command is run, in the order of the page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from .arguments import is_concrete
from .exceptions import EXCEPTIONS, reason_not_to_run
from .pages import PAGES, Block, Command, blocks, cells, inline_commands
from .running import Page

_BLOCKS = [
    block
    for page in PAGES
    for block in sorted([*blocks(page), *cells(page)], key=lambda block: block.line)
]
# Exit codes other than 0 that depend on the machine: a full disk, say.
_EXIT_CODES = {"raysweep doctor": (0, 1)}
# Setting up the data, a first run and so on count as part of the test that asks for them.
pytestmark = pytest.mark.timeout(400)


def _runnable() -> list[tuple[Block, Command | None]]:
    steps: list[tuple[Block, Command | None]] = []
    for block in _BLOCKS:
        if block.not_run:
            continue
        if block.language == "python" or block.file:
            steps.append((block, None))
        steps += [(block, each) for each in block.commands if _runs(block, each.text)]
    return steps


def _runs(block: Block, command: str) -> bool:
    in_cell = block.text == command
    return not reason_not_to_run(command) and (is_concrete(command) or not in_cell)


def _name(step: tuple[Block, Command | None]) -> str:
    block, command = step
    text = command.text[:60] if command else block.file or "Python"
    return f"{block.page}:{command.line if command else block.line} {text}"


@pytest.mark.parametrize("step", _runnable(), ids=_name)
def test_what_a_page_prints_runs(
    step: tuple[Block, Command | None],
    page_folder: Callable[[str], Page],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block, command = step
    page = page_folder(block.page)
    if command is None:
        page.execute(block, monkeypatch)
    else:
        codes = _EXIT_CODES.get(" ".join(command.text.split()[:2]), (block.exits,))
        assert page.run(command, monkeypatch) in codes


@pytest.mark.parametrize("start", EXCEPTIONS)
def test_an_exception_matches_a_printed_command(start: str) -> None:
    printed = [each for block in _BLOCKS for each in block.commands]
    printed += [each for page in PAGES for each in inline_commands(page)]
    assert any(re.match(start, each.text) for each in printed)


def test_the_pages_have_commands() -> None:
    assert len(_runnable()) > 60


@pytest.mark.parametrize(
    "block", [b for b in _BLOCKS if b.not_run], ids=lambda b: f"{b.page}:{b.line}"
)
def test_a_block_that_is_not_run_has_something_to_run(block: Block) -> None:
    assert block.commands or block.language == "python"
