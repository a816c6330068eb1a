"""The user's modules on their way to other processes, which need no file of the user's.

A function or a class is sent as it is, with what it refers to. An `import` inside of a function,
however, asks for a module by its name, there. So the modules' sources go along, and that process
imports them as if their files were beside it. Where the user's modules import each other in that
way, everything of theirs is imported there: a class must not exist twice, sent and imported.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from raysweep.core.ray_private import pickle_code, unpickle_code

__all__ = ["Sent", "Source", "file_below", "imported_names", "is_installed", "receive"]

_INSTALLED = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}


@dataclass(frozen=True)
class Source:
    """A module of the user's.

    Attributes:
        file: where it was read; tracebacks name it.
        text: what stands there; empty for a folder without `__init__.py`.
        is_package: whether other modules are inside of it.
    """

    file: str
    text: bytes
    is_package: bool


class Sent:
    """Code of the user's, which becomes itself again where it is unpickled, importing its modules.

    Args:
        code: a function, a class, or something that holds them. No references to Ray's objects:
            Ray would not know that they are in use.
        sources: of its modules, by their full names (`targets.user_sources`).
    """

    def __init__(self, code: Any, sources: Mapping[str, Source]) -> None:
        self._code, self._sources = code, dict(sources)

    def __call__(self, *arguments: Any) -> Any:
        """Calls the code, where it was not sent yet."""
        return self._code(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return receive, (self._sources, pickle_code(self._code))


def receive(sources: Mapping[str, Source], pickled: bytes) -> Any:
    """What was sent, in a process that can import its modules from now on."""
    _FINDER.take(sources)
    return unpickle_code(pickled)


class _Loader(importlib.abc.InspectLoader):
    """Imports one module from its source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        """The source, also for tracebacks and `inspect`, where there is no such file."""
        return importlib.util.decode_source(self._source.text)

    def get_code(self, fullname: str) -> Any:
        """The source, compiled; errors in it name its file."""
        return self.source_to_code(self._source.text, self._source.file)

    def is_package(self, fullname: str) -> bool:
        """Whether other modules are inside of it."""
        return self._source.is_package


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that were sent last, before files of the same names."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}

    def take(self, sources: Mapping[str, Source]) -> None:
        """Replaces what is known; modules of other sources are forgotten, so imported anew."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        if dict(sources) == self._sources:
            return
        for name in self._sources:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if spec is not None and isinstance(spec.loader, _Loader):
                del sys.modules[name]
        self._sources = dict(sources)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What `import` asks for each module."""
        source = self._sources.get(fullname)
        if source is None:
            return None
        spec = importlib.machinery.ModuleSpec(
            fullname, _Loader(source), origin=source.file, is_package=source.is_package
        )
        spec.has_location = True  # so that the module has a `__file__`
        return spec


_FINDER = _Finder()


def is_installed(path: Path) -> bool:
    """Whether a module is of a package or of Python itself, which may be below a user's home."""
    if any(part in _INSTALLED for part in path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in _STANDARD_LIBRARY)


def file_below(root: Path, name: str) -> Path | None:
    """The file below a folder that `import` would take for a module that is not loaded yet."""
    package, _, last = name.rpartition(".")
    if name in sys.modules or not all(part.isidentifier() for part in name.split(".")):
        return None
    if not package:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            path = Path(spec.origin) if spec and spec.origin and spec.has_location else None
            return path if path and path.suffix == ".py" and _is_below(path, root) else None
        return None
    # Python would import the package to find what is inside of it.
    loaded = sys.modules.get(package)
    folders = [Path(each) for each in getattr(loaded, "__path__", [])]
    if loaded is None:
        above = file_below(root, package)
        if above is not None and above.name != "__init__.py":
            return None
        folders = (
            [above.parent] if above else [Path(e or ".", *package.split(".")) for e in sys.path]
        )
    for folder in folders:
        for path in (folder / last / "__init__.py", folder / f"{last}.py"):
            if path.is_file() and _is_below(path, root):
                return path
    return None


def _is_below(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve()) and not is_installed(path)


def imported_names(name: str, file: Path, *, late: bool = False) -> list[str]:
    """What a module's source imports, by full names of modules.

    Args:
        name: of the module.
        file: where its source is.
        late: only what it imports inside of functions, when they are called.
    """
    names: list[str] = []
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # compiled, or being edited
        return []
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    functions = [
        n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    for node in (node for top in (functions if late else [tree]) for node in ast.walk(top)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    parents = [name.rpartition(".")[0] for name in names]
    return [each for each in (*names, *parents) if each]
