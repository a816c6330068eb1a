"""What is searched: one file a question. `SPACES` is the index; packages add theirs."""

from __future__ import annotations

from raysweep.core.plugins import find_plugin, installed_plugins
from raysweep.search_spaces.questions import SPACES
from raysweep.search_spaces.space import Space, Suggest, check_known, combine, grid, read, sample
from raysweep.search_spaces.user.ranges import bind_ranges, parse_range
from raysweep.search_spaces.user.ray_domains import describe_domains
from raysweep.search_spaces.user.user_space import as_space, bind_user_space

__all__ = [
    "SPACES",
    "Space",
    "Suggest",
    "as_space",
    "bind_ranges",
    "bind_user_space",
    "combine",
    "describe_domains",
    "get_space",
    "grid",
    "parse_range",
    "read",
    "sample",
]


def get_space(name: str) -> Space:
    """The space of that name: a built-in one, or one of an installed package.

    Raises:
        UserError: there is none, with the nearest name; or a package's cannot be loaded.
    """
    plugin = None if name in SPACES else find_plugin("space", name)
    if plugin is None:
        return check_known(name, SPACES, [each.name for each in installed_plugins("space")])
    return as_space(name, plugin.load())
