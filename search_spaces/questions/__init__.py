"""The questions that raysweep asks of every model that has the fields: one file each."""

from __future__ import annotations

from raysweep.search_spaces.questions import (
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
from raysweep.search_spaces.space import Space

__all__ = ["SPACES"]

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
