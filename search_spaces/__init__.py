"""What is searched: one file a question. `SPACES` is the index; packages add theirs."""

from __future__ import annotations

from raysweep.core.plugins import find_plugin, installed_plugins
from raysweep.search_spaces import (
    augmentation,
    batchnorm_placement,
    dropout_placement,
    embedding_size,
    embedding_source,
    filter_widths,
    head_shape,
    l2,
    ngrams,
    optimizer,
    rnn_size,
)
from raysweep.search_spaces.ranges import bind_ranges, parse_range
from raysweep.search_spaces.space import (
    Space,
    Suggest,
    as_space,
    check_known,
    combine,
    grid,
    read,
    sample,
)

__all__ = [
    "SPACES",
    "Space",
    "Suggest",
    "bind_ranges",
    "combine",
    "get_space",
    "grid",
    "parse_range",
    "read",
    "sample",
]

_MODULES = (
    augmentation,
    batchnorm_placement,
    dropout_placement,
    embedding_size,
    embedding_source,
    filter_widths,
    head_shape,
    l2,
    ngrams,
    optimizer,
    rnn_size,
)
SPACES: dict[str, Space] = {module.SPACE.name: module.SPACE for module in _MODULES}


def get_space(name: str) -> Space:
    """The space of that name: a built-in one, or one of an installed package.

    Raises:
        UserError: there is none, with the nearest name; or a package's cannot be loaded.
    """
    plugin = None if name in SPACES else find_plugin("space", name)
    if plugin is None:
        return check_known(name, SPACES, [each.name for each in installed_plugins("space")])
    return as_space(name, plugin.load())
