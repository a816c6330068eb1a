"""What installed packages add to raysweep, by their entry points.

    [project.entry-points."raysweep.trainables"]
    their_name = "their_package.net:Net"

The groups are `raysweep.trainables`, `raysweep.spaces` and `raysweep.datasets`. Finding them
imports nothing of the packages; a plugin is imported when it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from raysweep.core.errors import UserError
from raysweep.core.targets import load_target

__all__ = ["KINDS", "Plugin", "clashes", "find_plugin", "installed_plugins"]

KINDS = ("trainable", "space", "dataset")


@dataclass(frozen=True)
class Plugin:
    """A trainable, a space or a dataset of an installed package.

    Attributes:
        kind: one of `KINDS`.
        name: what it is called on the command line.
        target: where it is, `package.module:name`.
        package: the package's name.
        version: the package's version.
    """

    kind: str
    name: str
    target: str
    package: str
    version: str

    @property
    def origin(self) -> str:
        """Package and version, e.g. `their-package 1.0`."""
        return f"{self.package} {self.version}"

    def load(self) -> Any:
        """Imports it.

        Raises:
            UserError: the import fails, or there is nothing of that name.
        """
        try:
            return load_target(self.target)
        except UserError as error:
            raise self._broken(str(error)) from None
        except SystemExit as error:
            raise self._broken(f"{self.target} ends Python, with the code {error.code}") from None

    def _broken(self, reason: str) -> UserError:
        return UserError(
            f"the {self.kind} '{self.name}' of the package {self.origin} cannot be loaded: "
            f"{reason}\nFix, update or uninstall {self.package}"
        )


def installed_plugins(kind: str) -> tuple[Plugin, ...]:
    """Every plugin of a kind (one of `KINDS`), by name; nothing of them is imported."""
    return _installed(kind, tuple(sys.path))


@cache
def _installed(kind: str, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    found = set()
    for point in entry_points(group=f"raysweep.{kind}s"):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        found.add(Plugin(kind, point.name, f"{point.module}:{point.attr}", package, version))
    return tuple(sorted(found, key=lambda each: (each.name, each.package)))


def find_plugin(kind: str, name: str) -> Plugin | None:
    """The plugin of that name, not yet imported; None where no package has one.

    Raises:
        UserError: several packages have one.
    """
    named = [plugin for plugin in installed_plugins(kind) if plugin.name == name]
    if len(named) > 1:
        packages = " and ".join(plugin.origin for plugin in named)
        raise UserError(f"{packages} each have a {kind} called '{name}'; uninstall all but one")
    return named[0] if named else None


def clashes(kind: str, built_in: Iterable[str]) -> list[str]:
    """A sentence for each plugin that cannot be had by its name.

    Args:
        kind: one of `KINDS`.
        built_in: the names of ours, which win.
    """
    plugins, sentences = installed_plugins(kind), []
    names = [plugin.name for plugin in plugins]
    for plugin in plugins:
        if plugin.name in set(built_in):
            sentences.append(
                f"the {kind} '{plugin.name}' of the package {plugin.origin} is not used, since "
                f"a built-in one has that name"
                + (f"; theirs is {plugin.target}" if kind == "trainable" else "")
            )
        elif names.count(plugin.name) > 1:
            sentences.append(
                f"the {kind} '{plugin.name}' of the package {plugin.origin} has the name of one of "
                "another package; neither can be used until one of them is uninstalled"
            )
    return sentences
