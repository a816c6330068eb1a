"""What `raysweep list` prints: names with their origin, or all about one trainable or space.

For the names alone nothing that needs PyTorch is imported, which takes seconds; plugins are, since
only that shows whether they work.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError
from raysweep.core.plugins import Plugin, clashes, installed_plugins
from raysweep.core.targets import is_target
from raysweep.data.sources.catalogue import CATALOGUE, as_entry
from raysweep.search_spaces import SPACES, Space, as_space, get_space
from raysweep.trainables.registry import LEARNERS, check_trainable, get_learner, known_trainables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["plugin_notes", "print_everything", "print_one"]

_BUILT_IN: dict[str, Mapping[str, Any]] = {
    "trainable": LEARNERS,
    "space": SPACES,
    "dataset": CATALOGUE,
}
Row = tuple[str, str, str]


def print_everything() -> None:
    """Prints the names of trainables, spaces and datasets; on standard error what does not work."""
    console, failures = _console(), _Failures()
    trainables = [(name, _summary(target), "") for name, target in LEARNERS.items()]
    trainables += failures.rows("trainable", lambda p: check_trainable(p.target, p.load()).summary)
    _print_rows(console, "Trainables", trainables)
    spaces = [(space.name, space.question, _needs(space)) for space in SPACES.values()]
    spaces += failures.rows("space", lambda p: as_space(p.name, p.load()).question)
    _print_rows(console, "Search spaces", spaces)
    datasets = [(name, entry.summary, "") for name, entry in CATALOGUE.items()]
    datasets += failures.rows("dataset", lambda p: as_entry(p.name, p.load()).summary)
    _print_rows(console, "Datasets", datasets)
    console.print(
        "raysweep list NAME shows the fields of a trainable, also of yours (FILE.py:NAME), and "
        "the spaces that cover it",
        markup=False,
    )
    for note in [*failures.notes(), *plugin_notes()]:
        print(f"warning: {note}", file=sys.stderr)


def print_one(name: str) -> None:
    """Prints a trainable's fields and spaces, or a space's question and trainables.

    Raises:
        UserError: there is none of that name, or it cannot be loaded.
    """
    console = _console()
    if name in known_trainables() or is_target(name):
        _print_trainable(console, name)
        return
    spaces = [*SPACES, *(plugin.name for plugin in installed_plugins("space"))]
    space = get_space(name) if name in spaces else None
    if space is None:
        _print_trainable(console, name)  # which says that there is none
        return
    covered = [task for task in LEARNERS if space.covers(get_learner(task).config_class())]
    console.print(f"[bold]{name}[/]  {space.question} {_needs(space)}".rstrip())
    console.print(f"  covers {', '.join(covered) or 'no built-in trainable'}", markup=False)


def plugin_notes(*names: str) -> list[str]:
    """Sentences about plugins that cannot be had by their names: of these names, or of all."""
    return [
        sentence
        for kind, built_in in _BUILT_IN.items()
        for sentence in clashes(kind, built_in)
        if not names or any(f"'{name}'" in sentence for name in names)
    ]


class _Failures:
    """Plugins that cannot be loaded, by package and reason."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}

    def rows(self, kind: str, describe: Callable[[Plugin], str]) -> list[Row]:
        """(name, description, origin) of the plugins of a kind that can be loaded."""
        rows = []
        for plugin in installed_plugins(kind):
            if plugin.name in _BUILT_IN[kind]:
                continue
            try:
                rows.append((plugin.name, describe(plugin), plugin.origin))
            except UserError as error:
                # The reason stands last: before it are the frames of a traceback, after it a hint.
                reason = str(error).partition("\nFix,")[0].rpartition("\n")[2].strip()
                self._names.setdefault((plugin.origin, reason), []).append(plugin.name)
        return rows

    def notes(self) -> list[str]:
        """A sentence for each package and reason."""
        return [
            f"{', '.join(names)} of the package {origin} cannot be loaded: {reason}"
            for (origin, reason), names in self._names.items()
        ]


def _console() -> Console:
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False)


def _print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    from rich.markup import escape

    console.print(f"[bold]{title}[/]")
    width = max(len(name) for name, *_ in rows)
    for name, text, more in rows:
        shown = f"  [dim]{escape(more)}[/]" if more else ""
        console.print(f"  {escape(name):{width}}  {escape(text)}{shown}")
    console.print()


def _print_trainable(console: Console, name: str) -> None:
    learner = get_learner(name)
    by = next(iter(learner.metrics), "the metric that --metric names")
    console.print(f"[bold]{name}[/]  {learner.summary.rstrip('.')}; chosen by {by}")
    for title, fields in (("--set", learner.config_class), ("--data", learner.data_class)):
        for f in dataclasses.fields(fields):
            default = "" if f.default is None else _value(f.default)
            words = ", ".join(f.metadata.get("choices", ()))
            meaning = f.metadata.get("help", "") + (f" ({words})" if words else "")
            console.print(f"  {title} {f.name}={default}  [dim]{meaning}[/]")
    config = learner.config_class()
    covering = [space.name for space in _every_space() if space.covers(config)]
    console.print(f"  spaces: {', '.join(covering) or 'none'}", markup=False)


def _every_space() -> Iterable[Space]:
    yield from SPACES.values()
    for plugin in installed_plugins("space"):
        if plugin.name not in SPACES:
            try:
                yield as_space(plugin.name, plugin.load())
            except UserError:
                continue  # `raysweep list` says why


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_value(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _needs(space: Space) -> str:
    words = [pattern.replace("|", " or ") for pattern in space.needs]
    return f"(for {', '.join(words)})" if words else ""


def _summary(target: str) -> str:
    """The `summary` of a built-in class, read from its source: importing it imports PyTorch."""
    module, _, name = target.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        for line in node.body if isinstance(node, ast.ClassDef) and node.name == name else ():
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "summary":
                return str(ast.literal_eval(line.value)) if line.value else ""
    return ""
