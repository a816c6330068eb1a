"""Texts of a batch end to end, so that nothing is computed on padding.

Reviews fill fewer than half of the 500 columns that an array of them has. A ragged batch is one
long text: after each text's words comes a gap of zeros, as wide as a filter needs, so that no
filter sees two texts. What a filter gives on words is then the same as on texts that are padded
with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RaggedBatch", "flatten", "left_aligned"]

# Kernels are made anew for every shape, which takes longer than to compute on a few zeros more.
_ROWS = 512


@dataclass(frozen=True)
class RaggedBatch:
    """Where the words of a batch of n texts are; r rows in all, a multiple of `pool`.

    Pooling makes m = r / pool windows of them. Padded to equal length, a text would have
    q = ⌈length / pool⌉ windows: `spread` and `gathered` lead from one to the other.

    Attributes:
        ids: ids of words, 0 in gaps, int64 [left + r + right]: rows for the filters to reach over.
        texts: the text of each of these rows, from 0; n in gaps, int64 [left + r + right].
        gaps: the rows of the r that are not words, int64 [g].
        spread: for each of the n · q windows of the padded batch, the one of the m windows that
            belongs there; a gap's window where there is none. int64 [n · q].
        gathered: the reverse: for each of the m windows its index in the padded batch; any for
            gaps. int64 [m].
        starts: first of each text's windows among the m, int64 [n].
        counts: how many of the m windows each text has, at least 1, int64 [n].
    """

    ids: Tensor
    texts: Tensor
    gaps: Tensor
    spread: Tensor
    gathered: Tensor
    starts: Tensor
    counts: Tensor


def flatten(ids: Tensor, lengths: Tensor, width: int, pool: int) -> RaggedBatch:
    """Lays texts end to end for filters of `width` words with "same" padding, pooled by `pool`.

    Windows of pooling end with a text's last word, as they do in an array that is padded in front
    and has a multiple of `pool` columns.

    Args:
        ids: [n, length], padded in front.
        lengths: words of each text, [n].
        width: words that the widest filter sees; (width - 1) // 2 of them before its own.
        pool: rows that are pooled into one.
    """
    count, length = ids.shape
    device = ids.device
    lengths = lengths.long()
    windows = (lengths + pool - 1) // pool  # ⌈lengths / pool⌉, [n]
    gap = -(-max(width - 1, 1) // pool)  # windows between texts: at least width - 1 rows
    ends = torch.cumsum(windows + gap, 0)  # where each text's gap ends, in windows, [n]
    rows = -(-(int(ends[-1]) * pool) // _ROWS) * _ROWS
    rows = -(-rows // pool) * pool  # r
    left = (width - 1) // 2

    # Each word in turn, w = Σ lengths of them.
    text = torch.repeat_interleave(torch.arange(count, device=device), lengths)  # [w]
    # How far each word is from its text's end, from 1.
    last = torch.cumsum(lengths, 0)[text]
    back = last - torch.arange(len(text), device=device)  # [w]
    word_rows = (ends[text] - gap) * pool - back  # the word's row among the r, [w]
    flat = torch.zeros(rows + width - 1, dtype=torch.long, device=device)
    flat[word_rows + left] = ids.reshape(-1)[(text + 1) * length - back].long()
    texts = torch.full_like(flat, count)
    texts[word_rows + left] = text
    is_gap = torch.ones(rows, dtype=torch.bool, device=device)
    is_gap[word_rows] = False

    # Each window of pooling in turn, v = Σ windows of them.
    padded_windows = -(-length // pool)  # q
    window_text = torch.repeat_interleave(torch.arange(count, device=device), windows)  # [v]
    back = torch.cumsum(windows, 0)[window_text] - torch.arange(len(window_text), device=device)
    source = ends[window_text] - gap - back  # among the m, [v]
    target = (window_text + 1) * padded_windows - back  # in the padded batch, [v]
    empty = ends[-1] - 1  # the last text's gap
    spread = empty.repeat(count * padded_windows)
    spread[target] = source
    gathered = torch.zeros(rows // pool, dtype=torch.long, device=device)
    gathered[source] = target
    starts = ends - gap - windows
    return RaggedBatch(flat, texts, is_gap.nonzero()[:, 0], spread, gathered, starts, windows)


def left_aligned(ids: Tensor, lengths: Tensor) -> Tensor:
    """Moves padding from the front to the end, and cuts it to the longest text.

    Args:
        ids: [n, length], padded in front.
        lengths: words of each text, [n].

    Returns:
        Ids, int64 [n, longest].
    """
    longest = int(lengths.max())
    columns = torch.arange(longest, device=ids.device)[None, :]  # [1, longest]
    source = ids.shape[1] - lengths.long()[:, None] + columns  # column j is word j, [n, longest]
    is_word = columns < lengths[:, None]
    words = ids.long().gather(1, source.clamp(max=ids.shape[1] - 1))
    return words * is_word  # 0 after a text's last word
