"""What the two ratings models share: data, batches, metrics, L2 on embedding tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import UserError
from data.ratings import Interactions, Ratings
from trainables.config import Config, option
from trainables.learner import Dataset, Learner
from trainables.optim import TrainingConfig

__all__ = ["RatingsConfig", "RatingsData", "RatingsLearner", "embedding_penalty"]

_EVALUATE_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingsData(Config):
    """Which ratings, and how they are split."""

    dataset: str = option(
        "ml-100k", "ml-100k, ml-1m, ml-latest-small, ml-25m, or a folder, .zip, .csv, .parquet"
    )
    data_dir: str | None = option(None, "folder with your copy of the dataset")
    split: str = option("random", "train/validation/test 80/10/10", choices=("random", "time"))
    split_seed: int = option(0, "seed of the random split", low=0)
    duplicates: str = option(
        "error",
        "what to do when a user rated an item twice",
        choices=("error", "first", "last", "mean"),
    )
    user_column: str = option("", "the user's column in a file of your own; found by default")
    item_column: str = option("", "the item's column")
    rating_column: str = option("", "the rating's column")
    timestamp_column: str = option("", "the time's column, for split=time")
    title_column: str = option("", "the title's column")
    scale: str = option(
        "", "lowest and highest rating allowed, e.g. 1:5; the data's own by default"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingsConfig(TrainingConfig):
    """Fields of both ratings models.

    The penalty is `embedding_l2`·Σw². With l2_on=batch the sum is over the rows that a batch uses,
    averaged over its ratings, so that a film's weights are held in proportion to its ratings; with
    l2_on=table it is over the whole table, once a batch, as in the lesson (Keras's regulariser).
    """

    num_factors: int = option(64, "size of a user's and of an item's embedding", low=1, high=4096)
    embedding_l2: float = option(0.05, "λ of λ·Σw² on the embeddings", low=0.0)
    l2_on: str = option("batch", "rows that are penalised", choices=("batch", "table"))


R = TypeVar("R", bound=RatingsConfig)


class RatingsLearner(Learner[R]):
    """Trains on (user, item) pairs with the mean squared error; rates within the scale."""

    data_class: ClassVar[type[Config]] = RatingsData
    metrics: ClassVar[Mapping[str, str]] = {"val_rmse": "min", "val_mse": "min", "val_mae": "min"}

    @classmethod
    def load_data(cls, config: RatingsData) -> Dataset:
        """Reads and splits the ratings; see `data.movielens.load` for what is refused."""
        from data.movielens import load, split

        ratings = load(
            _locate(config),
            columns=_columns(config) or None,
            scale=_scale(config.scale),
            duplicates=config.duplicates,
        )
        sets = split(ratings, by=config.split, seed=config.split_seed)
        arrays = {
            "num_users": ratings.num_users,
            "num_items": ratings.num_items,
            "lowest": ratings.scale[0],
            "highest": ratings.scale[1],
            **_columns_of("train", sets.train),
            **_columns_of("val", sets.validation),
        }
        for name, features in (("user", ratings.user_features), ("item", ratings.item_features)):
            if features is not None:
                arrays[f"{name}_features"] = features.values
        return Dataset(
            arrays=arrays,
            test=_columns_of("test", sets.test),
            info=ratings,
            fingerprint=f"{ratings.fingerprint()}-{config.split}-{config.split_seed}",
            description=f"{ratings.name}: {len(ratings.interactions):,} ratings, "
            f"{ratings.num_users:,} users, {ratings.num_items:,} items; {config.split} split",
        )

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Slices of the training set, shuffled whole once an epoch."""
        size = self.config.batch_size
        count = len(self.data["train_rating"])
        order = torch.randperm(count, generator=generator).to(self.device)
        columns = [self.data[f"train_{name}"][order] for name in ("user", "item", "rating")]
        for start in range(0, count, size):
            user, item, rating = (column[start : start + size] for column in columns)
            yield user, item, rating

    def num_batches(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-len(self.data["train_rating"]) // self.config.batch_size)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean squared error + penalties, mean squared error)."""
        user, item, rating = batch
        error = nn.functional.mse_loss(self.model(user, item), rating)
        return error + self.penalty(user, item), error

    @abstractmethod
    def penalty(self, user: Tensor, item: Tensor) -> Tensor:
        """The L2 terms of a batch."""

    def predict(self, user: Tensor, item: Tensor) -> Tensor:
        """Ratings of pairs of indices, float32 [n], within the scale."""
        chunks = zip(user.split(_EVALUATE_AT_ONCE), item.split(_EVALUATE_AT_ONCE), strict=True)
        ratings = torch.cat([self.model(u, i) for u, i in chunks])
        return ratings.clamp(self.data["lowest"], self.data["highest"])

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """RMSE, MSE and MAE of predictions within the scale."""
        predicted = self.predict(data[f"{prefix}_user"], data[f"{prefix}_item"])
        error = (predicted - data[f"{prefix}_rating"]).double()
        mse = float(error.square().mean())
        mae = float(error.abs().mean())
        return {f"{prefix}_rmse": mse**0.5, f"{prefix}_mse": mse, f"{prefix}_mae": mae}


def embedding_penalty(table: nn.Embedding, rows: Tensor, l2: float, on: str) -> Tensor | float:
    """λ·Σw² over the rows of a batch, averaged over the batch, or over the whole table.

    Args:
        table: the embedding, float32 [n, d].
        rows: the rows that the batch used, float32 [batch, d].
        l2: λ.
        on: "batch" or "table".
    """
    if l2 == 0.0:
        return 0.0
    if on == "table":
        return l2 * table.weight.square().sum()
    return l2 * rows.square().sum() / len(rows)


def _locate(config: RatingsData) -> Path:
    from data.sources import DATASETS, fetch

    if config.dataset in DATASETS:
        return fetch(config.dataset, data_dir=config.data_dir)
    return Path(config.data_dir or ".", config.dataset).expanduser()


def _columns(config: RatingsData) -> dict[str, str]:
    roles = ("user", "item", "rating", "timestamp", "title")
    return {role: name for role in roles if (name := getattr(config, f"{role}_column"))}


def _scale(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise UserError(f"scale={text!r} is not LOWEST:HIGHEST such as 1:5") from None
    return low, high


def _columns_of(name: str, rows: Interactions) -> dict[str, np.ndarray]:
    return {f"{name}_user": rows.user, f"{name}_item": rows.item, f"{name}_rating": rows.rating}


def info(dataset: Dataset) -> Ratings:
    """The ratings that a dataset was made of."""
    assert isinstance(dataset.info, Ratings)
    return dataset.info
