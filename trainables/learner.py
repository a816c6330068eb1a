"""What a model family is: data in, batches and their loss, metrics out. Plain PyTorch, no Ray.

A learner says what is trained; the loop that trains it is in `trainables.trainer`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from raysweep.core.config import Config
from raysweep.core.errors import UserError, nearest
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.optim import TrainingConfig, build_optimizer

__all__ = ["Learner", "check_metric", "is_better", "num_parameters", "seed_everything"]

C = TypeVar("C", bound=TrainingConfig)


class Learner(ABC, Generic[C]):
    """A model with its data and its optimiser: what a family tells the trainer.

    A family implements `load_data`, `build_model`, `batches`, `num_batches`, `loss` and `evaluate`;
    the other methods have defaults. Everything random in epoch e is drawn from PyTorch's global
    generator or from the one that `batches` gets. The trainer seeds both from (config.seed, e), so
    `state_dict` holds no generator's state.

    Attributes of the class:
        name, summary: for the command line.
        config_class, data_class: the fields of the model and those of its data.
        metrics: the validation metrics with "min" or "max", the first the default.
        packed_fields: fields that may differ between models that train as one (`trainables.pack`;
            a family whose weights can be stacked is `trainables.stacked.Stackable`). Default: none.
        splits: whether several processes can share a batch. "no", the default. "rows": batches are
            tuples of tensors with a row for each example, loss and metrics are means over rows,
            every array named `val_…` has a row for each example, and every weight has a gradient in
            every batch. "exactly": besides, what is drawn for a row does not depend on the process
            that it is in, and `loss` takes batches without rows.
        predictor: how a trained model is asked. "", the default: by `predict`, where the family has
            that method. `package.module:name`: by that function of a learner and inputs. Or what
            the inputs are, for families that take texts, images or pairs of a ratings' data:
            "texts", "images" or "ratings".

    Attributes:
        config: the family's configuration.
        device: where model and data are.
        data: `Dataset.arrays`, arrays as tensors on the device.
        epoch: epochs trained so far.
        model, optimizer: what the arguments lead to.
        rank, num_workers: this process among those that share each batch; for families that read
            their own rows alone (`trainables.parallel.PartialBatch`).

    Args:
        config: the family's configuration.
        arrays: `Dataset.arrays`; NumPy arrays may be read-only views of shared memory.
        device: "cpu" or "cuda".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    config_class: ClassVar[type[TrainingConfig]]
    data_class: ClassVar[type[Config]]
    metrics: ClassVar[Mapping[str, str]]
    packed_fields: ClassVar[frozenset[str]] = frozenset()
    splits: ClassVar[str] = "no"
    predictor: ClassVar[str] = ""
    rank: int = 0
    num_workers: int = 1

    def __init__(self, config: C, arrays: Mapping[str, Any], device: str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.data = {name: self.tensor(value) for name, value in arrays.items()}
        self.epoch = 0
        seed_everything(config.seed, 0)
        self.model = self.build_model().to(self.device)
        self.optimizer = build_optimizer(self.parameter_groups(), config)

    # What a family must say.

    @classmethod
    @abstractmethod
    def load_data(cls, config: Any) -> Dataset:
        """Reads, checks and splits the data that a `data_class` configuration names."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The network, its weights drawn from PyTorch's seeded generator."""

    @abstractmethod
    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """The training batches of one epoch, shuffled by `generator`."""

    @abstractmethod
    def num_batches(self) -> int:
        """How many batches an epoch has."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The mean loss of one batch, a scalar, penalties left out."""

    @abstractmethod
    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Metrics, named `prefix_…`, on arrays named `prefix_…` without changing the model."""

    # What a family may say.

    @classmethod
    def check(cls, config: Any, data: Any) -> None:
        """Refuses a configuration that does not go with its data, before the data are read.

        Args:
            config: of `config_class`.
            data: of `data_class`.

        Raises:
            UserError: they do not go together.
        """

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups; `scale` multiplies the learning rate of a group."""
        return [{"params": list(self.model.parameters()), "scale": 1.0}]

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """The L2 penalties: parameters w with λ, which may be one number or one for each row.

        λ·Σw² is part of what is minimised, once a batch, but not of the loss that is reported. What
        is frozen (`requires_grad` is False) has no penalty for as long.
        """
        return []

    def on_epoch_start(self, epoch: int) -> None:
        """A hook for families whose training changes with the epoch, counted from 1."""

    def limit_gradients(self) -> None:
        """A hook before each step, for families whose gradients at times are far too large."""

    def num_validation_examples(self) -> int:
        """How many examples there are to validate on; by default the rows of the `val_…` arrays.

        Only asked where `splits` is not "no": workers share the validation set by its rows.
        """
        counts = {len(values) for name, values in self.data.items() if name.startswith("val_")}
        if len(counts) != 1:
            raise ValueError(f"{self.name}: arrays named val_… have {sorted(counts)} rows")
        return counts.pop()

    def samples(self) -> dict[str, str]:
        """Texts by name that show what the model has learned, for TensorBoard; drawn each epoch."""
        return {}

    def embeddings(self, info: Any) -> dict[str, Embedding]:
        """The vectors that the model learned of things with names, by what the things are.

        Args:
            info: `Dataset.info`, for the names.

        Returns:
            The main one first; empty for a family that learns none. A key is made of letters.
        """
        return {}

    def predict(self, inputs: Sequence[Any]) -> Any:
        """What the trained model answers; a family that can be asked overrides it.

        It is called by `raysweep predict` and `raysweep.predict`, with the model in evaluation mode
        and without gradients.

        Args:
            inputs: one or more; from the command line as they were typed.

        Returns:
            A list with an answer for each input, which is a value, or a mapping of columns to
            values; or a data frame.

        Raises:
            UserError: an input that the model cannot take.
        """
        raise NotImplementedError(f"{self.name} has no method predict")

    # What every family has.

    def validate(self, rows: slice | None = None) -> dict[str, float]:
        """Metrics, named `val_…`, on the validation set, or on these rows of it."""
        data = self.data
        if rows is not None:
            data = data | {k: v[rows] for k, v in data.items() if k.startswith("val_")}
        self.model.eval()
        with torch.inference_mode():
            return self.evaluate(data, "val")

    def test(self, arrays: Mapping[str, Any]) -> dict[str, float]:
        """Metrics on `Dataset.test`, named `test_…`. Only `confirm` and `reproduce` call it."""
        self.model.eval()
        with torch.inference_mode():
            data = {name: self.tensor(value) for name, value in arrays.items()}
            return self.evaluate(self.data | data, "test")

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser and epoch: all that the next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        optimizer = {int(k): v for k, v in state.get("optimizer", {}).items()}
        self.optimizer.load_state_dict({"state": optimizer, "param_groups": groups})
        self.epoch = int(state["epoch"])

    def tensor(self, value: Any) -> Any:
        """A tensor on the learner's device that shares the array's memory where it can."""
        if not isinstance(value, np.ndarray):
            return value
        with warnings.catch_warnings():
            # Arrays from the object store are read-only, and nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            return torch.from_numpy(value).to(self.device, non_blocking=True)


def seed_everything(*numbers: int) -> torch.Generator:
    """Seeds PyTorch from a tuple of numbers and returns a generator seeded alike.

    Seeding each epoch from (seed, epoch) makes an epoch's randomness independent of what ran
    before, which is what makes a resumed run equal to one that was never interrupted.
    """
    words = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    seed = int(words[0]) << 32 | int(words[1])
    torch.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    generator = torch.Generator()
    generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    return generator


def num_parameters(
    learner_class: type[Learner[Any]], config: TrainingConfig, arrays: Mapping[str, Any]
) -> int:
    """How many numbers a configuration's model learns; its weights are not drawn.

    Args:
        learner_class: the family.
        config: of its `config_class`.
        arrays: `Dataset.arrays`.
    """
    learner = learner_class.__new__(learner_class)
    learner.config, learner.device, learner.epoch = config, torch.device("cpu"), 0
    learner.data = {name: learner.tensor(value) for name, value in arrays.items()}
    with torch.random.fork_rng([]), _Undrawn():
        return sum(each.numel() for each in learner.build_model().parameters())


class _Undrawn(TorchFunctionMode):
    """Leaves the memory of new weights as it is, which takes no time.

    The device "meta" would take no memory either, but its first use imports SymPy: a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def is_better(value: float, than: float | None, mode: str) -> bool:
    """Whether a value of a metric beats another; any value beats None. mode is "min" or "max"."""
    if than is None:
        return True
    return value < than if mode == "min" else value > than


def check_metric(learner: type[Learner[Any]], metric: str) -> str:
    """Refuses to choose anything by a test metric.

    Raises:
        UserError: the metric's name starts with `test`, or is not one that the learner reports.
    """
    if metric.startswith("test"):
        raise UserError(
            f"--metric {metric}: a search must not see the test set; choose by "
            f"{next(iter(learner.metrics))} and measure the test set once with `raysweep confirm`"
        )
    if metric not in learner.metrics:
        raise UserError(
            f"--metric {metric}: {learner.name} reports {', '.join(learner.metrics)}"
            f"{nearest(metric, learner.metrics)}"
        )
    return metric
