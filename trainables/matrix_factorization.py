"""Matrix factorisation: user · item + user bias + item bias + global mean.

Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer
42(8), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.config import option
from trainables.ratings import RatingsConfig, RatingsLearner, embedding_penalty

__all__ = ["MatrixFactorization", "MatrixFactorizationConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixFactorizationConfig(RatingsConfig):
    """Fields of matrix factorisation."""

    biases: bool = option(True, "a bias for each user and item, and the global mean")
    bias_l2: float = option(0.005, "λ of λ·Σw² on the biases", low=0.0)
    init_scale: float = option(0.05, "deviation of the first embeddings", low=1e-6, high=10.0)


class _Network(nn.Module):
    def __init__(
        self, num_users: int, num_items: int, mean: float, config: MatrixFactorizationConfig
    ) -> None:
        super().__init__()
        self.user = nn.Embedding(num_users, config.num_factors)
        self.item = nn.Embedding(num_items, config.num_factors)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=config.init_scale)
        self.biases = config.biases
        if config.biases:
            self.user_bias = nn.Embedding(num_users, 1)
            self.item_bias = nn.Embedding(num_items, 1)
            nn.init.zeros_(self.user_bias.weight)
            nn.init.zeros_(self.item_bias.weight)
            self.register_buffer("mean", torch.tensor(mean))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        rating = (self.user(user) * self.item(item)).sum(1)
        if self.biases:
            rating = rating + (self.user_bias(user) + self.item_bias(item)).squeeze(1) + self.mean
        return rating


class MatrixFactorization(RatingsLearner[MatrixFactorizationConfig]):
    """The dot product of a user's and an item's factors, with biases."""

    name: ClassVar[str] = "matrix_factorization"
    summary: ClassVar[str] = "ratings: user factors · item factors + biases"
    config_class = MatrixFactorizationConfig

    def build_model(self) -> nn.Module:
        """The tables; the global mean is the training set's."""
        data: Mapping[str, Any] = self.data
        mean = float(data["train_rating"].double().mean())
        return _Network(data["num_users"], data["num_items"], mean, self.config)

    def penalty(self, user: Tensor, item: Tensor) -> Tensor:
        """embedding_l2 on the factors and bias_l2 on the biases."""
        model, config = self.model, self.config
        total = torch.zeros((), device=self.device)
        for table, rows in ((model.user, user), (model.item, item)):
            total = total + embedding_penalty(table, table(rows), config.embedding_l2, config.l2_on)
        if config.biases:
            for table, rows in ((model.user_bias, user), (model.item_bias, item)):
                total = total + embedding_penalty(table, table(rows), config.bias_l2, config.l2_on)
        return total
