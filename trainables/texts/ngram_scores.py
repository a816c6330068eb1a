"""Naive Bayes on n-grams, each with a weight that is learned: a strong and fast linear model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NgramScores", "log_ratios"]


def log_ratios(ngrams: Tensor, labels: Tensor, num_classes: int, size: int) -> Tensor:
    """What naive Bayes makes of each n-gram.

    r = log(p / q), where p is an n-gram's share among all n-grams in texts of a class, q the one in
    texts of all other classes, and one is added to every count (Wang and Manning, "Baselines and
    Bigrams", ACL 2012).

    Args:
        ngrams: Ids of the n-grams in each training text, int [n, most]; 0 and ids from `size` on
            are passed over.
        labels: Class of each text, int64 [n].
        num_classes: Classes.
        size: Ids, 0 included.

    Returns:
        float32 [size, num_classes]; row 0 is 0.
    """
    ids = ngrams.reshape(-1).long()
    kept = (ids > 0) & (ids < size)
    of_class = labels.repeat_interleave(ngrams.shape[1])[kept]
    cells = torch.bincount(ids[kept] * num_classes + of_class, minlength=size * num_classes)
    counts = cells.view(size, num_classes).double()
    others = counts.sum(1, keepdim=True) - counts
    ratios = torch.zeros_like(counts)
    ratios[1:] = _log_shares(counts[1:]) - _log_shares(others[1:])
    return ratios.float()


def _log_shares(counts: Tensor) -> Tensor:
    return ((counts + 1) / (counts + 1).sum(0)).log()


class NgramScores(nn.Module):
    """Scores of classes: Σ w·r over the n-grams that a text has.

    The ratios r come from counting; how far each n-gram is to be trusted, w, is learned from 0 on.

    Args:
        ratios: float32 [size, num_classes]; row 0 is 0.
    """

    ratios: Tensor

    def __init__(self, ratios: Tensor) -> None:
        super().__init__()
        # Counted again from the training texts in a second: checkpoints need not hold it.
        self.register_buffer("ratios", ratios, persistent=False)
        self.weights = nn.Parameter(torch.zeros(len(ratios)))

    def forward(self, ngrams: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            ngrams: Ids of the n-grams in each text, int32 [n, most]; 0 and unknown ids add nothing.

        Returns:
            float32 [n, num_classes].
        """
        ids = ngrams.masked_fill(ngrams >= len(self.weights), 0).reshape(-1)
        trusted = self.weights.index_select(0, ids)[:, None] * self.ratios.index_select(0, ids)
        return trusted.view(*ngrams.shape, -1).sum(1)
