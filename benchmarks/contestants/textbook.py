"""Matrix factorisation as a tutorial would write it: Dataset, DataLoader, one loop, loss.item().

The maths is that of raysweep's `matrix_factorization` with default settings: global mean, biases,
λ·Σ weight·w² with rows weighted by the square root of their ratings as a term of the loss, Adam
with a rate that falls linearly to zero, predictions clipped to the scale for validation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset

__all__ = ["Net", "RatingsDataset", "linear_to_zero", "make_loaders", "train_epoch", "validate"]

Batches = DataLoader[tuple[Tensor, Tensor, Tensor]]


class RatingsDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One rating an example."""

    def __init__(self, path: Path) -> None:
        table = pd.read_csv(path)
        self.users = torch.tensor(table["user"].values)
        self.items = torch.tensor(table["item"].values)
        self.ratings = torch.tensor(table["rating"].values, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.ratings)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.users[index], self.items[index], self.ratings[index]


class Net(nn.Module):
    """User · item + user bias + item bias + mean."""

    user_share: Tensor
    item_share: Tensor

    def __init__(self, num_users: int, num_items: int, train: RatingsDataset, config: Any) -> None:
        super().__init__()
        self.user = nn.Embedding(num_users, config["num_factors"])
        self.item = nn.Embedding(num_items, config["num_factors"])
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)
        nn.init.normal_(self.user.weight, std=config["init_scale"])
        nn.init.normal_(self.item.weight, std=config["init_scale"])
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)
        self.register_buffer("mean", train.ratings.mean())
        self.register_buffer("user_share", _shares(train.users, num_users))
        self.register_buffer("item_share", _shares(train.items, num_items))
        self.embedding_l2, self.bias_l2 = config["embedding_l2"], config["bias_l2"]

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Ratings of pairs, float32 [n]."""
        dot = (self.user(user) * self.item(item)).sum(1)
        return dot + self.user_bias(user).squeeze(1) + self.item_bias(item).squeeze(1) + self.mean

    def penalty(self) -> Tensor:
        """The L2 term of the loss."""
        users, items = self.user_share, self.item_share
        embeddings = (users * self.user.weight**2).sum() + (items * self.item.weight**2).sum()
        biases = (users * self.user_bias.weight**2).sum() + (items * self.item_bias.weight**2).sum()
        return self.embedding_l2 * embeddings + self.bias_l2 * biases


def _shares(ids: Tensor, size: int) -> Tensor:
    weights = torch.bincount(ids, minlength=size).clamp(min=1).float().sqrt()
    return (weights / weights.sum())[:, None]


def make_loaders(
    train: RatingsDataset, val: RatingsDataset, batch_size: int, num_workers: int
) -> tuple[Batches, Batches]:
    """The tutorials' loaders of training and validation examples."""
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True, num_workers=num_workers),
        DataLoader(val, batch_size=batch_size, shuffle=True, num_workers=num_workers),
    )


def linear_to_zero(optimizer: optim.Optimizer, steps: int) -> optim.lr_scheduler.LRScheduler:
    """Lets the learning rate fall from its first value to 0 over so many steps."""
    return optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)


def train_epoch(
    net: Net,
    loader: Batches,
    optimizer: optim.Optimizer,
    schedule: optim.lr_scheduler.LRScheduler,
) -> float:
    """Trains one epoch and returns the mean loss."""
    criterion = nn.MSELoss()
    running_loss = 0.0
    for users, items, ratings in loader:
        optimizer.zero_grad()
        loss = criterion(net(users, items), ratings) + net.penalty()
        loss.backward()
        optimizer.step()
        schedule.step()
        running_loss += loss.item()
    return running_loss / len(loader)


def validate(net: Net, loader: Batches, lowest: float, highest: float) -> float:
    """Returns the root mean squared error of clipped predictions."""
    total, count = 0.0, 0
    with torch.no_grad():
        for users, items, ratings in loader:
            predicted = net(users, items).clamp(lowest, highest)
            total += ((predicted - ratings) ** 2).sum().item()
            count += len(ratings)
    return (total / count) ** 0.5
