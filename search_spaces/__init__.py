"""What is searched: one file a question. `SPACES` is the index."""

from __future__ import annotations

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
from raysweep.search_spaces.space import Space, Suggest, check_known, combine, grid, read, sample
from raysweep.search_spaces.user.ranges import bind_ranges, parse_range
from raysweep.search_spaces.user.ray_domains import describe_domains
from raysweep.search_spaces.user.user_space import bind_user_space

__all__ = [
    "SPACES",
    "Space",
    "Suggest",
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
    """The space of that name; raises UserError with the nearest name if there is none."""
    return check_known(name, SPACES)
