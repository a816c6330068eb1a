"""Matrix factorisation: user · item + user bias + item bias + global mean.

Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer
42(8), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from raysweep.core.config import option
from raysweep.trainables.ratings.learner import PACKED_FIELDS, RatingsConfig, RatingsLearner, Tables
from raysweep.trainables.stacked import Stackable, StackedModels

__all__ = ["MatrixFactorization", "MatrixFactorizationConfig"]

# Where whole tables count, on another scale; see `trainables/ratings/learner.py`.
_BIAS_L2 = {"batch": (1e-4, 0.1), "balanced": (1e-4, 0.1), "table": (1e-7, 1e-3)}


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixFactorizationConfig(RatingsConfig):
    """Fields of matrix factorisation."""

    biases: bool = option(True, "a bias for each user and item, and the global mean")

    def search_ranges(self) -> Mapping[str, Any]:
        """Besides those of both models, the L2 of the biases, where there are some."""
        bias_l2 = _BIAS_L2[self.l2_on] if self.biases else None
        return {**RatingsConfig.search_ranges(self), "bias_l2": bias_l2}


class _DotProduct(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        user_vector, item_vector = self.look_up(user, item)  # [n, num_factors] each
        # r_ui = p_u·q_i + b_u + b_i + mean, [n]
        return (user_vector * item_vector).sum(1) + self.baseline(user, item)


class MatrixFactorization(RatingsLearner[MatrixFactorizationConfig], Stackable):
    """The dot product of a user's and an item's factors, with biases."""

    name: ClassVar[str] = "matrix_factorization"
    summary: ClassVar[str] = "ratings: user factors · item factors + biases"
    config_class = MatrixFactorizationConfig
    packed_fields: ClassVar[frozenset[str]] = PACKED_FIELDS

    model: _DotProduct

    def build_model(self) -> nn.Module:
        """The tables; the global mean is the training set's."""
        return _DotProduct(self.data, self.config, biases=self.config.biases)

    def stacked_loss(self, stacked: StackedModels, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean squared error of every one of stacked models: one look-up in all their tables."""
        user, item, rating = batch
        vectors = self.model.stacked_look_up(stacked, user, item)  # [K, n, num_factors] twice
        predicted = (vectors[0] * vectors[1]).sum(2) + self.model.stacked_baseline(
            stacked, user, item
        )
        return (predicted - rating).square().mean(1)

    @property
    def tables(self) -> Tables:
        """The model is its tables."""
        return self.model

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """embedding_l2 on the factors and bias_l2 on the biases."""
        return self.table_penalties()
