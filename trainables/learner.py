"""What a model family is: data in, one epoch at a time, metrics out. Plain PyTorch, no Ray."""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from raysweep.core.config import Config
from raysweep.core.errors import UserError, nearest
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.optim import TrainingConfig, build_optimizer, learning_rate

if TYPE_CHECKING:
    from raysweep.trainables.pack import Pack
    from raysweep.trainables.parallel import Parallel

__all__ = [
    "Dataset",
    "Learner",
    "TrainingDivergedError",
    "check_metric",
    "is_better",
    "seed_everything",
]

C = TypeVar("C", bound=TrainingConfig)


class TrainingDivergedError(RuntimeError):
    """The loss stopped being a finite number."""


@dataclass(frozen=True)
class Dataset:
    """A data set, ready for training.

    Attributes:
        arrays: all that a trial may read: training and validation arrays and their sizes.
        test: the same for the test set; never handed to a search.
        info: what answers need besides: ids, titles, words. Stays with the driver.
        fingerprint: a hash of the contents and of the split.
        description: one line for people.
    """

    arrays: Mapping[str, Any]
    test: Mapping[str, Any]
    info: Any = None
    fingerprint: str = ""
    description: str = ""

    def with_validation(self) -> Dataset:
        """The same with the validation examples among the training examples too.

        For a last training, when nothing is left to be chosen: metrics on the validation set then
        say nothing, since every array named `val_…` is appended to its `train_…`.

        Raises:
            UserError: training data are not all in memory.
        """
        arrays = dict(self.arrays)
        if "train_stream" in arrays:
            raise UserError(
                "--refit needs the training data in memory, and --data stream=true leaves them in "
                "their shards; leave --refit out, or search without stream"
            )
        for name, array in self.arrays.items():
            if name.startswith("val_"):
                train = f"train_{name.removeprefix('val_')}"
                arrays[train] = np.concatenate([arrays[train], array])
        description = f"{self.description}; validation examples are trained on"
        return dataclasses.replace(
            self,
            arrays=arrays,
            fingerprint=f"{self.fingerprint}-with-validation",
            description=description,
        )


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


class Learner(ABC, Generic[C]):
    """One model in training: built from a configuration, advanced an epoch at a time.

    A family implements four methods: `build_model`, `batches`, `loss` and `evaluate`. Everything
    random in epoch e is seeded from (config.seed, e), so `state_dict` holds no generator's state.

    Attributes of the class: `name` and `summary` for the command line; `config_class`,
    `data_class`; and `metrics`, the validation metrics with "min" or "max", the first the default.
    `splits` says whether several processes can share a batch: "no"; "rows", for batches that are
    tuples of tensors with a row an example, and a loss and metrics that are means over them; or
    "exactly", if besides what is drawn for a row does not depend on the process that it is in.
    `packed_fields` are those that may differ between models trained as one (see `trainables.pack`);
    where `stacks`, their weights are stacked, and the family implements `pack_loss`.

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
    splits: ClassVar[str] = "no"
    packed_fields: ClassVar[frozenset[str]] = frozenset()
    stacks: ClassVar[bool] = False
    parallel: Parallel | None = None

    def __init__(self, config: C, arrays: Mapping[str, Any], device: str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.data = {name: self.tensor(value) for name, value in arrays.items()}
        self.epoch = 0
        seed_everything(config.seed, 0)
        self.model = self.build_model().to(self.device)
        self.optimizer = build_optimizer(self.parameter_groups(), config)
        self._penalties = self.penalties()

    @classmethod
    def num_parameters(cls, config: C, arrays: Mapping[str, Any]) -> int:
        """How many numbers a configuration's model learns; its weights are not drawn.

        Args:
            config: of `config_class`.
            arrays: `Dataset.arrays`.
        """
        learner = cls.__new__(cls)
        learner.config, learner.device, learner.epoch = config, torch.device("cpu"), 0
        learner.data = {name: learner.tensor(value) for name, value in arrays.items()}
        with torch.random.fork_rng([]), _Undrawn():
            return sum(each.numel() for each in learner.build_model().parameters())

    @classmethod
    @abstractmethod
    def load_data(cls, config: Any) -> Dataset:
        """Reads, checks and splits the data that a `data_class` configuration names."""

    @classmethod
    def check(cls, config: Any, data: Any) -> None:
        """Refuses a configuration that the data it is for cannot serve, before data are read.

        Args:
            config: of `config_class`.
            data: of `data_class`.

        Raises:
            UserError: they do not go together.
        """

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

    def pack_loss(self, pack: Pack, batch: Any) -> Tensor:
        """The loss of one batch for each learner of a pack, [K]; called on the first of them."""
        raise NotImplementedError(f"{self.name} stacks no weights")

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """The L2 penalties: parameters w with λ, which may be one number or one for each row.

        λ·Σw² is part of what is minimised, once a batch, but not of the loss that is reported. Its
        gradient 2·λ·w is added directly: one pass over memory where autograd would need several.
        """
        return []

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups; `scale` multiplies the learning rate of a group."""
        return [{"params": list(self.model.parameters()), "scale": 1.0}]

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch, then validates.

        Returns:
            epoch (from 1), learning_rate (at the epoch's start), train_loss and the validation
            metrics.

        Raises:
            TrainingDivergedError: the loss or the metric is NaN or infinite.
        """
        return self.end_epoch(self._train(self.begin_epoch()))

    def begin_epoch(self) -> torch.Generator:
        """Counts the epoch and seeds it; returns the generator that its batches are drawn from."""
        # A weight without gradient for a while has moments below 1e-38, and some processors take
        # many times as long for such numbers: a third of an epoch of a text model went there. Of
        # this thread alone, so it is said each time.
        torch.set_flush_denormal(True)
        self.epoch += 1
        generator = seed_everything(self.config.seed, self.epoch)
        if self.parallel is not None and self.splits != "exactly" and self.parallel.rank:
            # What is dropped from other rows is drawn anew; the order of rows stays common to all.
            seed_everything(self.config.seed, self.epoch, self.parallel.rank)
        self.on_epoch_start(self.epoch)
        return generator

    def end_epoch(self, train_loss: float) -> dict[str, float]:
        """Validates; returns and raises what `run_epoch` does."""
        result = {
            "epoch": self.epoch,
            "learning_rate": learning_rate(self.config, self.epoch - 1),
            "train_loss": train_loss,
        }
        result |= self.validate()
        if not np.isfinite(list(result.values())).all():
            raise TrainingDivergedError(
                f"the loss is not finite after epoch {self.epoch}: learning_rate="
                f"{self.config.learning_rate:g} is probably too high for this configuration"
            )
        return result

    def _train(self, generator: torch.Generator) -> float:
        self.model.train()
        steps = self.num_batches()
        total = torch.zeros((), device=self.device)
        for step, batch in enumerate(self.batches(generator)):
            rate = learning_rate(self.config, self.epoch - 1 + step / steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = self.loss(batch) if self.parallel is None else self._share(batch)
            loss.backward()
            if self.parallel is not None:
                self.parallel.sum_gradients(self.model)
            self.finish_gradients()
            self.optimizer.step()
            # Summed on the device: asking for a number each step would wait for the GPU.
            total += loss.detach()
        if self.parallel is not None:
            total = self.parallel.sum(total)
        return float(total) / steps

    def _share(self, batch: Any) -> Tensor:
        """What this worker's rows add to the loss of a whole batch."""
        part, share = self.split(batch)
        return self.loss(part) * share if share else self.empty_loss(part) * 0.0

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Adds the penalties' gradients to those of the loss, and limits both."""
        for parameter, strength in self._penalties:
            assert parameter.grad is not None
            if isinstance(strength, Tensor):
                parameter.grad.addcmul_(parameter, strength, value=2.0)
            else:
                parameter.grad.add_(parameter, alpha=2.0 * strength)
        self.limit_gradients()

    def train_in_parallel(self, parallel: Parallel) -> None:
        """Makes this learner one of several that train one model; all must be in the same state.

        Raises:
            UserError: the family's batches cannot be shared.
        """
        if self.splits == "no":
            raise UserError(f"{self.name} trains in one process only; leave --workers out")
        self.parallel = parallel
        self.on_split()

    def on_split(self) -> None:
        """A hook for families whose layers look at whole batches."""

    def split(self, batch: Any) -> tuple[Any, float]:
        """This worker's rows of a batch, and their share of it."""
        assert self.parallel is not None
        return self.parallel.split(batch)

    def empty_loss(self, batch: Any) -> Tensor:
        """A scalar with a gradient for every weight, where a worker has no row of a batch."""
        weights = [p.sum() for p in self.model.parameters() if p.requires_grad]
        return torch.stack(weights).sum()

    def on_epoch_start(self, epoch: int) -> None:
        """A hook for families whose training changes with the epoch."""

    def limit_gradients(self) -> None:
        """A hook before each step, for families whose gradients at times are far too large."""

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

    def validate(self) -> dict[str, float]:
        """Metrics on the validation set, named `val_…`."""
        self.model.eval()
        with torch.inference_mode():
            if self.parallel is None:
                return self.evaluate(self.data, "val")
            return self._evaluate_share(self.parallel)

    def _evaluate_share(self, parallel: Parallel) -> dict[str, float]:
        """Metrics on this worker's rows, averaged over the workers by their rows."""
        columns = {k: v for k, v in self.data.items() if k.startswith("val_")}
        total = len(columns["val_labels"])
        own = parallel.own(total)
        share = (own.stop - own.start) / total
        names = sorted(self.metrics)
        sums = torch.zeros(len(names), dtype=torch.float64, device=self.device)
        if share:
            found = self.evaluate(self.data | {k: v[own] for k, v in columns.items()}, "val")
            sums += (
                torch.tensor([found[name] for name in names], dtype=torch.float64).to(sums) * share
            )
        # Shares of a sum round differently from the whole: equal accuracies are to stay equal.
        means = (round(mean, 12) for mean in parallel.sum(sums).tolist())
        return dict(zip(names, means, strict=True))

    def test(self, arrays: Mapping[str, Any]) -> dict[str, float]:
        """Metrics on `Dataset.test`, named `test_…`. Only `confirm` and `train --test` call it."""
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
