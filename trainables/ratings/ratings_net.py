"""A neural network on user and item embeddings, with features of both as further inputs.

The lesson's network is embeddings → dropout → dense → dropout → output. Two additions can be
switched off: `factorization` adds matrix factorisation's rating to the network's, on the same
embeddings (He et al., "Neural Collaborative Filtering", WWW 2017, fuse the two likewise), and
`side_features` feeds what is known about users and items to the first dense layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from raysweep.core.config import option
from raysweep.core.errors import UserError
from raysweep.trainables.ratings.learner import PACKED_FIELDS, RatingsConfig, RatingsLearner, Tables
from raysweep.trainables.stacked import Stackable, StackedModels

__all__ = ["RatingsNet", "RatingsNetConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingsNetConfig(RatingsConfig):
    """Fields of the network. `dense_dropout` holds one rate for all dense layers, or one each."""

    hidden_sizes: tuple[int, ...] = option((64, 32), "units of each dense layer", low=1, high=8192)
    embedding_dropout: float = option(
        0.3, "share of the embeddings' values dropped", low=0.0, high=0.95
    )
    dense_dropout: tuple[float, ...] = option(
        (0.2,), "share of units dropped after each dense layer", low=0.0, high=0.95
    )
    dense_l2: float = option(1e-4, "λ of λ·Σw² on the dense layers' weights", low=0.0)
    factorization: bool = option(True, "add user · item + biases + mean to the network's output")
    side_features: bool = option(True, "feed genres, year, age, gender, occupation, where known")
    embedding_rate: float = option(
        3.0, "the embeddings' learning rate, as a multiple of the dense layers'", low=0.01, high=100
    )
    implicit_feedback: bool = option(
        True, "add to a user's embedding that of the items rated, whatever the rating (SVD++)"
    )
    implicit_l2: float = option(0.5, "λ of λ·Σw² on the implicit embeddings", low=0.0)
    learning_rate: float = option(0.003, "step size at its highest", low=1e-7, high=10.0)

    def check(self) -> None:
        """Refuses a number of dropout rates that matches no layers."""
        RatingsConfig.check(self)
        if not self.hidden_sizes:
            raise UserError("hidden_sizes is empty; give at least one layer, e.g. hidden_sizes=64")
        if len(self.dense_dropout) not in (1, len(self.hidden_sizes)):
            raise UserError(
                f"dense_dropout has {len(self.dense_dropout)} rates for "
                f"{len(self.hidden_sizes)} dense layers; give one, or one for each layer"
            )
        each = self.dense_dropout * (len(self.hidden_sizes) // len(self.dense_dropout))
        object.__setattr__(self, "dense_dropout", each)

    def search_ranges(self) -> Mapping[str, Any]:
        """The biases' L2 matters little here, and `dense_dropout` has a rate for each layer."""
        ranges = {"dense_l2": (1e-7, 1e-2), "bias_l2": None, "hidden_sizes": None}
        return {**ranges, **RatingsConfig.search_ranges(self)}


class _Network(nn.Module):
    def __init__(self, data: dict[str, Any], config: RatingsNetConfig) -> None:
        super().__init__()
        self.tables = Tables(data, config, biases=config.factorization)
        self.factorization = config.factorization
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        names = ("user_features", "item_features") if config.side_features else ()
        # Kept as plain attributes: they are data, and no checkpoint needs another copy.
        self.features = [(name[:4], data[name]) for name in names if name in data]
        width = 2 * config.num_factors + sum(table.shape[1] for _, table in self.features)
        layers: list[nn.Module] = []
        for units, rate in zip(config.hidden_sizes, config.dense_dropout, strict=True):
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(rate)]
            width = units
        output = nn.Linear(width, 1)
        if config.factorization:
            nn.init.zeros_(output.weight)
        start = 0.0 if config.factorization else float(data["train_rating"].double().mean())
        nn.init.constant_(output.bias, start)
        self.dense = nn.Sequential(*layers, output)

    def dense_layers(self) -> list[nn.Linear]:
        """The dense layers, the output's last."""
        return [layer for layer in self.dense if isinstance(layer, nn.Linear)]

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        vectors = self.tables.look_up(user, item)  # [n, num_factors] twice
        inputs = [self.embedding_dropout(vector) for vector in vectors]
        rows = {"user": user, "item": item}
        inputs += [table.index_select(0, rows[role]) for role, table in self.features]
        rating = self.dense(torch.cat(inputs, 1)).squeeze(
            1
        )  # [n, 2 · num_factors + features] -> [n]
        if self.factorization:
            rating = rating + (vectors[0] * vectors[1]).sum(1) + self.tables.baseline(user, item)
        return rating


class RatingsNet(RatingsLearner[RatingsNetConfig], Stackable):
    """Dense layers on the embeddings of a user and an item."""

    name: ClassVar[str] = "ratings_net"
    summary: ClassVar[str] = "ratings: dense layers on user and item embeddings and features"
    config_class = RatingsNetConfig
    packed_fields: ClassVar[frozenset[str]] = PACKED_FIELDS | frozenset(
        ("dense_l2", "embedding_dropout", "dense_dropout", "embedding_rate")
    )

    model: _Network

    def build_model(self) -> nn.Module:
        """Tables and dense layers."""
        return _Network(self.data, self.config)

    def stacked_loss(self, stacked: StackedModels, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean squared error of every one of stacked models; see `_Network.forward`."""
        user, item, rating = batch
        net, configs = self.model, [learner.config for learner in stacked.learners]
        vectors = net.tables.stacked_look_up(stacked, user, item)  # [K, n, num_factors] twice
        inputs = [stacked.drop(each, [c.embedding_dropout for c in configs]) for each in vectors]
        for role, table in net.features:
            known = table.index_select(0, user if role == "user" else item)
            inputs.append(known.expand(len(stacked), -1, -1))
        rows = torch.cat(inputs, 2)  # [K, n, 2 · num_factors + features]
        *hidden, output = net.dense_layers()
        for number, layer in enumerate(hidden):
            rows = stacked.linear(layer, rows).relu()
            rows = stacked.drop(rows, [c.dense_dropout[number] for c in configs])
        predicted = stacked.linear(output, rows).squeeze(2)  # [K, n]
        if net.factorization:
            predicted = predicted + (vectors[0] * vectors[1]).sum(2)
            predicted = predicted + net.tables.stacked_baseline(stacked, user, item)
        return (predicted - rating).square().mean(1)

    @property
    def tables(self) -> Tables:
        """Below the dense layers."""
        return self.model.tables

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Embeddings see few of the batches' rows, and may learn faster than the dense layers."""
        scale = self.config.embedding_rate
        return [
            {"params": list(self.model.tables.parameters()), "scale": scale},
            {"params": list(self.model.dense.parameters()), "scale": 1.0},
        ]

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """The tables' L2, and dense_l2 on the weights (not the biases) of the dense layers."""
        strength = self.config.dense_l2
        return [
            *self.table_penalties(),
            *((layer.weight, strength) for layer in self.model.dense_layers()),
        ]
