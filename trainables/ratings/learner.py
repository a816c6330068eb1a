"""What the two ratings models share: data, batches, metrics, L2 on embedding tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.data.ratings.ratings import Interactions, Ratings
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.learner import Learner
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.ratings.columns import item_columns, user_columns
from raysweep.trainables.stacked import StackedModels

__all__ = ["PACKED_FIELDS", "RatingsConfig", "RatingsData", "RatingsLearner", "Tables"]

_EVALUATE_AT_ONCE = 1 << 18
_ROLES = ("user", "item")
# A whole table's rows weigh 1 each, and thousands of times less in the other two, so that λ lives
# on another scale.
_EMBEDDING_L2 = {"batch": (0.02, 0.5), "balanced": (0.02, 0.5), "table": (1e-6, 1e-2)}
# What both models may differ in within a stacked.
PACKED_FIELDS = frozenset(("embedding_l2", "bias_l2", "implicit_l2", "learning_rate", "init_scale"))


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

    L2 is λ·Σw² with a weight for each row of a table, which `l2_on` chooses. `batch`: in proportion
    to the row's ratings, the weights of a table summing to 1; this is what penalising the rows of
    a batch, averaged over it, comes to. `balanced`: likewise, in proportion to the square root of
    the row's ratings. `table`: every row weighs 1, the lesson's (Keras's) penalty on whole tables.
    """

    num_factors: int = option(64, "size of a user's and of an item's embedding", low=1, high=4096)
    embedding_l2: float = option(0.13, "λ of λ·Σw² on the embeddings", low=0.0)
    bias_l2: float = option(0.005, "λ of λ·Σw² on the biases", low=0.0)
    l2_on: str = option("balanced", "how rows are weighted", choices=("batch", "balanced", "table"))
    implicit_feedback: bool = option(
        False, "add to a user's embedding that of the items rated, whatever the rating (SVD++)"
    )
    implicit_l2: float = option(0.7, "λ of λ·Σw² on the implicit embeddings", low=0.0)
    init_scale: float = option(0.05, "deviation of the first embeddings", low=1e-6, high=10.0)
    epochs: int = option(12, "passes over the training set", low=1)
    batch_size: int = option(1024, "ratings a step", low=1)
    learning_rate: float = option(0.01, "step size at its highest", low=1e-7, high=10.0)

    def search_ranges(self) -> Mapping[str, Any]:
        """Strengths by how rows are weighted; none of what the model does not have."""
        return {
            "embedding_l2": _EMBEDDING_L2[self.l2_on],
            "implicit_l2": (0.2, 3.0) if self.implicit_feedback else None,
            "learning_rate": {"adam": (1e-3, 5e-2), "adagrad": (1e-2, 0.5), "sgd": (1e-2, 1.0)},
            "batch_size": [512, 1024, 2048, 4096],
        }


R = TypeVar("R", bound=RatingsConfig)


class RatingsLearner(Learner[R]):
    """Trains on (user, item) pairs with the mean squared error; rates within the scale."""

    data_class: ClassVar[type[Config]] = RatingsData
    metrics: ClassVar[Mapping[str, str]] = {"val_rmse": "min", "val_mse": "min", "val_mae": "min"}
    predictor: ClassVar[str] = "ratings"

    @classmethod
    def load_data(cls, config: RatingsData) -> Dataset:
        """Reads and splits the ratings; see `data.movielens.load` for what is refused."""
        from raysweep.data.ratings.movielens import load, split
        from raysweep.data.sources.fetch import dataset_path

        ratings = load(
            dataset_path(config.dataset, config.data_dir),
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

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean squared error."""
        user, item, rating = batch
        return nn.functional.mse_loss(self.model(user, item), rating)

    def row_strengths(self, role: str, l2: float) -> Tensor | float:
        """λ for each row of the users' or items' tables, float32 [rows, 1], or one for all."""
        if self.config.l2_on == "table":
            return l2
        # λ_i = λ · n_i^e / Σ_j n_j^e with n_i the training ratings of row i, [rows].
        ratings = torch.bincount(self.data[f"train_{role}"], minlength=self.data[f"num_{role}s"])
        exponent = 1.0 if self.config.l2_on == "batch" else 0.5
        weights = ratings.clamp(min=1).float() ** exponent
        return l2 * (weights / weights.sum())[:, None]

    @property
    @abstractmethod
    def tables(self) -> Tables:
        """The model's embeddings and biases."""

    def embeddings(self, info: Ratings) -> dict[str, Embedding]:
        """Items by title and users by id, those with the most training ratings first."""
        with torch.inference_mode():
            everyone = (torch.arange(self.data[f"num_{r}s"]).to(self.device) for r in _ROLES)
            users, items = self.tables.look_up(*everyone)
        return {
            "items": Embedding.ranked(items, *self._rated("item", info, item_columns)),
            "users": Embedding.ranked(users, *self._rated("user", info, user_columns)),
        }

    def _rated(
        self, role: str, info: Ratings, columns: Callable[..., dict[str, list[str]]]
    ) -> tuple[np.ndarray, dict[str, list[str]]]:
        """How often each item or user is rated or rates in training, and the columns of it."""
        rows, values = (self.data[f"train_{n}"].cpu().numpy() for n in (role, "rating"))
        num = self.data[f"num_{role}s"]
        counts = np.bincount(rows, minlength=num)
        means = np.bincount(rows, values, num) / counts.clip(min=1)
        return counts, columns(info, counts, means)

    def table_penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """The L2 of the tables that both models have."""
        config, tables = self.config, self.tables
        user, item = (self.row_strengths(role, 1.0) for role in _ROLES)
        penalties: list[tuple[Tensor, Tensor | float]] = [
            (tables.user.weight, config.embedding_l2 * user),
            (tables.item.weight, config.embedding_l2 * item),
        ]
        if tables.biases:
            penalties.append((tables.user_bias.weight, config.bias_l2 * user))
            penalties.append((tables.item_bias.weight, config.bias_l2 * item))
        if tables.implicit is not None:
            penalties.append((tables.implicit, config.implicit_l2 * item))
        return penalties

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        """Ratings of pairs of indices, float32 [n], within the scale."""
        chunks = zip(user.split(_EVALUATE_AT_ONCE), item.split(_EVALUATE_AT_ONCE), strict=True)
        ratings = torch.cat([self.model(u, i).float() for u, i in chunks])
        return ratings.clamp(self.data["lowest"], self.data["highest"])

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """RMSE, MSE and MAE of predictions within the scale."""
        predicted = self.rate(data[f"{prefix}_user"], data[f"{prefix}_item"])
        # In the ratings' own unit; squared in that of MSE.
        error = (predicted - data[f"{prefix}_rating"]).double()
        mse = float(error.square().mean())
        mae = float(error.abs().mean())
        return {f"{prefix}_rmse": mse**0.5, f"{prefix}_mse": mse, f"{prefix}_mae": mae}


class Tables(nn.Module):
    """The embeddings, biases and implicit feedback of users and items.

    With implicit feedback a user's vector is p_u + |N(u)|^(-1/2) · Σ_{j in N(u)} y_j, N(u) being
    the items that the user rated in the training set: Koren, "Factorization Meets the
    Neighborhood", KDD 2008, equation 15.

    Args:
        data: num_users, num_items, train_user, train_item, train_rating.
        config: sizes and switches.
        biases: whether there are biases and the global mean.
    """

    mean: Tensor

    def __init__(self, data: Mapping[str, Any], config: RatingsConfig, *, biases: bool) -> None:
        super().__init__()
        num_users, num_items = data["num_users"], data["num_items"]
        self.user = nn.Embedding(num_users, config.num_factors)
        self.item = nn.Embedding(num_items, config.num_factors)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=config.init_scale)
        self.biases = biases
        if biases:
            self.user_bias = nn.Embedding(num_users, 1)
            self.item_bias = nn.Embedding(num_items, 1)
            nn.init.zeros_(self.user_bias.weight)
            nn.init.zeros_(self.item_bias.weight)
            self.register_buffer("mean", data["train_rating"].double().mean().float())
        self.implicit: nn.Parameter | None = None
        if config.implicit_feedback:
            self.implicit = nn.Parameter(torch.zeros(num_items, config.num_factors))
            user, item = data["train_user"], data["train_item"]
            # N(u) as bags: the items of all users one after another, and where each user's start.
            by_user, by_item = (torch.argsort(ids, stable=True) for ids in (user, item))
            self._bags = (item[by_user], _starts(user[by_user], num_users))
            self._bags_back = (user[by_item], _starts(item[by_item], num_items))
            counts = torch.bincount(user, minlength=num_users).clamp(min=1)
            self._scale = counts.float().rsqrt()[:, None]  # |N(u)|^(-1/2), [num_users, 1]

    def look_up(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of users and items, float32 [n, num_factors] each."""
        users = self.user.weight  # p, [num_users, num_factors]
        if self.implicit is not None:
            # Σ_{j in N(u)} y_j of every user, [num_users, num_factors]
            sums = _BagSum.apply(self.implicit, *self._bags, *self._bags_back)
            users = users + self._scale * sums
        return nn.functional.embedding(user, users), self.item(item)

    def stacked_look_up(
        self, stacked: StackedModels, user: Tensor, item: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`look_up` for every model of a pack that these tables lead, [K, n, num_factors] each."""
        users = stacked.of(self.user.weight)  # [K, num_users, num_factors]
        if self.implicit is not None:
            # One sum of wide rows for all models, [num_items, K · num_factors].
            wide = stacked.of(self.implicit).transpose(0, 1).flatten(1)
            sums = _BagSum.apply(wide, *self._bags, *self._bags_back)
            users = users + self._scale * sums.view(len(sums), len(stacked), -1).transpose(0, 1)
        return stacked.embedding(users, user), stacked.embedding(stacked.of(self.item.weight), item)

    def stacked_baseline(
        self, stacked: StackedModels, user: Tensor, item: Tensor
    ) -> Tensor | float:
        """`baseline` for every model of a pack, [K, n]."""
        if not self.biases:
            return 0.0
        of_users = stacked.embedding(stacked.of(self.user_bias.weight), user)
        of_items = stacked.embedding(stacked.of(self.item_bias.weight), item)
        return (of_users + of_items).squeeze(2) + self.mean

    def baseline(self, user: Tensor, item: Tensor) -> Tensor | float:
        """Global mean + user bias + item bias, float32 [n]; 0 without biases."""
        if not self.biases:
            return 0.0
        return (self.user_bias(user) + self.item_bias(item)).squeeze(1) + self.mean


class _BagSum(torch.autograd.Function):
    """For each user the sum of the rows of the user's items; backward is the same, transposed.

    y = A·w with A[u, j] = 1 where user u rated item j, else 0; dL/dw = Aᵀ·dL/dy.

    PyTorch's own backward of embedding_bag scatters row by row; this one sums bags of users for
    each item, which was 8 times as fast on one core.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, items: Tensor, starts: Tensor, users: Tensor, item_starts: Tensor
    ) -> Tensor:
        ctx.save_for_backward(users, item_starts)
        return nn.functional.embedding_bag(items, weight, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        users, starts = ctx.saved_tensors
        back = nn.functional.embedding_bag(users, grad.contiguous(), starts, mode="sum")
        return back, None, None, None, None


def _starts(sorted_ids: Tensor, size: int) -> Tensor:
    every = torch.arange(size, device=sorted_ids.device, dtype=sorted_ids.dtype)
    return torch.searchsorted(sorted_ids, every).to(sorted_ids.dtype)


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
