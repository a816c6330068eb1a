"""Texts of a batch end to end, so that nothing is computed on padding.

Reviews fill fewer than half of the 500 columns that an array of them has. A packed batch is one
long text: after each text's words comes a gap of zeros, as wide as a filter needs, so that no
filter sees two texts. What a filter gives on words is then the same as on texts that are padded
with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Packing", "left_aligned", "pack"]

# Kernels are made anew for every shape, which takes longer than to compute on a few zeros more.
_ROWS = 512


@dataclass(frozen=True)
class Packing:
    """Where the words of a batch of n texts are; r rows in all, a multiple of `pool`.

    Attributes:
        ids: ids of words, 0 in gaps, [left + r + right]: rows for the filters to reach over.
        texts: the text of each of these rows, [left + r + right]; n in gaps.
        gaps: the rows of the r that are not words, [g].
        spread: for each of n · q places of the padded batch, where q = ⌈length / pool⌉, the row
            among r / pool that belongs there; a row of a gap where there is none.
        gathered: the reverse: for each of r / pool rows its place; any place for gaps.
        starts: first of each text's rows among r / pool, [n].
        counts: how many rows of r / pool each text has, at least 1, [n].
    """

    ids: Tensor
    texts: Tensor
    gaps: Tensor
    spread: Tensor
    gathered: Tensor
    starts: Tensor
    counts: Tensor


def pack(ids: Tensor, lengths: Tensor, width: int, pool: int) -> Packing:
    """Packs texts for filters of `width` words with "same" padding, and for pooling by `pool`.

    Windows of pooling end with a text's last word, as they do in an array that is padded in front
    and has a multiple of `pool` columns.

    Args:
        ids: [n, length], padded in front.
        lengths: words of each text, [n].
        width: words that the widest filter sees; (width - 1) // 2 of them before its place.
        pool: rows that are pooled into one.
    """
    count, length = ids.shape
    device = ids.device
    lengths = lengths.long()
    windows = (lengths + pool - 1) // pool
    gap = -(-max(width - 1, 1) // pool)
    ends = torch.cumsum(windows + gap, 0)
    rows = -(-(int(ends[-1]) * pool) // _ROWS) * _ROWS
    rows = -(-rows // pool) * pool
    left = (width - 1) // 2

    text = torch.repeat_interleave(torch.arange(count, device=device), lengths)
    # How far each word is from its text's end, from 1.
    last = torch.cumsum(lengths, 0)[text]
    back = last - torch.arange(len(text), device=device)
    word_rows = (ends[text] - gap) * pool - back
    packed = torch.zeros(rows + width - 1, dtype=torch.long, device=device)
    packed[word_rows + left] = ids.reshape(-1)[(text + 1) * length - back].long()
    texts = torch.full_like(packed, count)
    texts[word_rows + left] = text
    is_gap = torch.ones(rows, dtype=torch.bool, device=device)
    is_gap[word_rows] = False

    places = -(-length // pool)
    window_text = torch.repeat_interleave(torch.arange(count, device=device), windows)
    back = torch.cumsum(windows, 0)[window_text] - torch.arange(len(window_text), device=device)
    source, target = ends[window_text] - gap - back, (window_text + 1) * places - back
    empty = ends[-1] - 1  # the last text's gap
    spread = empty.repeat(count * places)
    spread[target] = source
    gathered = torch.zeros(rows // pool, dtype=torch.long, device=device)
    gathered[source] = target
    starts = ends - gap - windows
    return Packing(packed, texts, is_gap.nonzero()[:, 0], spread, gathered, starts, windows)


def left_aligned(ids: Tensor, lengths: Tensor) -> Tensor:
    """Moves padding from the front to the end, and cuts it to the longest text.

    Args:
        ids: [n, length], padded in front.
        lengths: words of each text, [n].

    Returns:
        Ids, int64 [n, longest].
    """
    longest = int(lengths.max())
    columns = torch.arange(longest, device=ids.device)[None, :]
    source = ids.shape[1] - lengths.long()[:, None] + columns
    inside = columns < lengths[:, None]
    found = ids.long().gather(1, source.clamp(max=ids.shape[1] - 1))
    return found * inside
