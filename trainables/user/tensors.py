"""A learner for the common case: inputs and labels that fit into memory, one row an example.

A model of yours needs a configuration, its data and its network:

    class Net(raysweep.TensorLearner):
        @dataclass(frozen=True, kw_only=True, slots=True)
        class Config(raysweep.TrainingConfig):
            width: int = raysweep.option(64, "units of the hidden layer", low=1, high=4096)

        @classmethod
        def load_data(cls, config):
            return raysweep.split(inputs, labels, seed=0)

        def build_model(self):
            return nn.Sequential(nn.Linear(20, self.config.width), nn.ReLU(), nn.LazyLinear(3))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.core.fingerprints import fingerprint
from raysweep.data.tables.rows import read_rows
from raysweep.data.tables.stratified import stratified_split
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.user.torchmetric import torchmetric

__all__ = ["NoData", "TensorLearner", "split"]

Batch = tuple[Tensor, Tensor]
_VERBS = {"train": "train", "val": "validate", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class NoData(Config):
    """The data's configuration of a learner whose data have none."""


def split(
    inputs: Any,
    labels: Any = None,
    *,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.15,
    duplicates: bool = False,
) -> Dataset:
    """Splits examples at random into training, validation and a sealed test set.

    Of classes (whole-number labels) every set has the same shares, as nearly as can be.

    Args:
        inputs: n examples in a row each, NumPy array or tensor of numbers, [n, ...]; or a
            `torch.utils.data.Dataset` of pairs of an input and its label, which is read once.
        labels: whole numbers from 0 (classes) [n]; fractions (values to predict) [n] or [n, k]; or
            0 and 1 as whole numbers (several labels, each there or not) [n, k].
        seed: of the split.
        val: share of the examples to validate on.
        test: share of the examples to test on, which a search never sees.
        duplicates: whether equal examples are different ones that look alike, which may then be in
            several sets (see `Dataset`).

    Raises:
        UserError: no examples, another number of labels, or a value that is no finite number.
    """
    if labels is None:
        inputs, labels = _pairs(inputs)
    x, y = _numbers("inputs", inputs), _numbers("labels", labels)
    if len(x) != len(y):
        raise UserError(f"there are {len(x)} inputs and {len(y)} labels; give one label an input")
    classes = y.dtype.kind == "i" and y.ndim == 1
    if classes and y.min() < 0:
        raise UserError(f"classes are whole numbers from 0, but a label is {y.min()}")
    if y.dtype.kind == "i" and y.ndim > 1 and not np.isin(y, (0, 1)).all():
        raise UserError(
            "several whole-number labels an example must be 0 or 1 each, there or not; give values "
            "to predict as fractions (float)"
        )
    groups = y if classes else np.zeros(len(y), np.int64)
    rows = stratified_split(groups, (1.0 - val - test, val, test), seed)
    parts = dict(zip(("train", "val", "test"), rows, strict=True))
    arrays = {f"{s}_{n}": v[parts[s]] for s in parts for n, v in (("inputs", x), ("labels", y))}
    sizes = ", ".join(f"{len(parts[name]):,} to {verb}" for name, verb in _VERBS.items())
    return Dataset(
        arrays={name: v for name, v in arrays.items() if not name.startswith("test_")},
        test={name: v for name, v in arrays.items() if name.startswith("test_")},
        fingerprint=fingerprint(*(arrays[name] for name in sorted(arrays))),
        description=f"{len(x):,} examples: {sizes}",
        duplicates=duplicates,
    )


def _pairs(dataset: Any) -> tuple[Tensor, Tensor]:
    """All inputs and labels of a PyTorch dataset; raises UserError if it is none of pairs."""
    try:
        examples = [dataset[k] for k in range(len(dataset))]
        inputs, labels = zip(*examples, strict=True)
        rows = tuple(torch.stack([torch.as_tensor(v) for v in one]) for one in (inputs, labels))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"split takes inputs and labels, or a dataset of pairs of equal shapes: {error}"
        ) from None
    return rows[0], rows[1]


def _numbers(what: str, values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype == object or array.dtype.kind not in "fiub" or not len(array):
        raise UserError(f"{what} must be numbers, a row for each example; they are {array.dtype}")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise UserError(f"{what}: example {row} has a value that is no finite number")
        return array.astype(np.float32)
    return array.astype(np.int64) if what == "labels" else array


class TensorLearner(Learner[Any]):
    """A model on inputs and labels in memory; see the top of this file.

    What the labels are says what is minimised: of classes (whole numbers [n]) the cross-entropy, of
    several labels (0 and 1 [n, k]) the binary cross-entropy, of values (fractions) the squared
    error. `metrics` names what is measured: `val_loss`, `val_accuracy`, of values `val_rmse`, or
    any metric of torchmetrics by its name there, such as `val_auroc`, `val_f1_score` or
    `val_mean_absolute_error`. A model of values sets `metrics = {"val_rmse": "min", …}`. Each
    default can be replaced by one method: `loss`, `evaluate`, `batches`.

    A model that is trained on whichever data are named has `Data = raysweep.DataConfig`, and reads
    the file or folder `config.path()`. `load_data` returns a `Dataset` with arrays `train_inputs`,
    `train_labels`, `val_inputs` and `val_labels`, and the same for `test`; `split` makes one.
    """

    Config: ClassVar[type[TrainingConfig]] = TrainingConfig
    Data: ClassVar[type[Any]] = NoData
    data_class = NoData
    metrics: ClassVar[Mapping[str, str]] = {"val_accuracy": "max", "val_loss": "min"}
    splits: ClassVar[str] = "rows"
    _CHUNK: ClassVar[int] = 4096

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "config_class" not in own:
            cls.config_class = cls.Config
        if "data_class" not in own and "Data" in own:
            cls.data_class = cls.Data
        if "name" not in own:
            cls.name = cls.__name__
        if "summary" not in own:
            cls.summary = (cls.__doc__ or "").strip().partition("\n")[0]

    def num_batches(self) -> int:
        """As many as hold all training examples; the last one may be smaller."""
        return -(-len(self.data["train_labels"]) // int(self.config.batch_size))

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Inputs and labels of `batch_size` examples, in a new order each epoch."""
        inputs, labels = self.data["train_inputs"], self.data["train_labels"]
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for rows in order.split(int(self.config.batch_size)):
            yield inputs[rows], labels[rows]

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of a batch, a scalar; see the class for which."""
        inputs, labels = batch
        return self._loss(self.model(inputs), labels)

    def _loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if labels.is_floating_point():
            return nn.functional.mse_loss(outputs.reshape(labels.shape), labels)
        if labels.ndim > 1:
            return nn.functional.binary_cross_entropy_with_logits(outputs, labels.to(outputs))
        return nn.functional.cross_entropy(outputs, labels)

    def validate(self, rows: slice | None = None) -> dict[str, float]:
        """Metrics on the validation set, or on these rows of it where they are means over rows."""
        means = set(self.metrics) <= {"val_loss", "val_accuracy"}
        return super().validate(rows if means else None)

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """The metrics that the class names, and the loss."""
        inputs, labels = data[f"{prefix}_inputs"], data[f"{prefix}_labels"]
        outputs = torch.cat([self.model(chunk).float() for chunk in inputs.split(self._CHUNK)])
        loss = float(self._loss(outputs, labels))
        measured = {f"{prefix}_loss": loss}
        for metric in self.metrics:
            name = metric.removeprefix("val_")
            if name != "loss":
                measured[f"{prefix}_{name}"] = self._measure(name, outputs, labels, loss)
        return measured

    def _measure(self, name: str, outputs: Tensor, labels: Tensor, loss: float) -> float:
        """A metric by its name: our own two, or torchmetrics'.

        Args:
            name: without `val_`.
            outputs: of the network for n examples, [n, ...].
            labels: [n] or [n, k].
            loss: of them; of values the mean squared error.

        Raises:
            UserError: nobody has a metric of that name, or torchmetrics is not installed.
        """
        if name == "rmse" and labels.is_floating_point():
            return loss**0.5
        if name == "accuracy" and not labels.is_floating_point():
            guessed = outputs > 0 if labels.ndim > 1 else outputs.argmax(-1)
            return float((guessed == labels).double().mean())
        return torchmetric(name, outputs, labels)

    def predict(self, inputs: Sequence[Any]) -> Any:
        """Classes with their probabilities, or values.

        Args:
            inputs: rows of numbers as `load_data` has them, or .csv, .tsv or .npy files of such.

        Returns:
            A data frame with a row an example: source; of classes predicted and `p_CLASS` for
            each; of several labels predicted, those above one half, and `p_LABEL` for each; of
            values predicted, or predicted_1, … where a label is several.

        Raises:
            UserError: see `data.tables.rows.read_rows`.
        """
        import pandas as pd

        known, labels = self.data["train_inputs"], self.data["train_labels"]
        rows, sources = read_rows(inputs, known.shape[1:])
        rows = _numbers("inputs", rows)
        if not known.is_floating_point() and not np.array_equal(rows, np.round(rows)):
            raise UserError("the model takes whole numbers, and the inputs have fractions")
        chunks = self.tensor(rows).to(known.dtype).split(self._CHUNK)
        outputs = torch.cat([self.model(chunk).double() for chunk in chunks]).cpu()
        table = pd.DataFrame({"source": sources})
        if labels.is_floating_point():
            values = outputs.reshape(len(rows), -1).numpy()
            names = ["predicted"]
            if labels.ndim > 1:
                names = [f"predicted_{k}" for k in range(1, values.shape[1] + 1)]
            table[names] = values
            return table
        if labels.ndim > 1:
            shares = outputs.sigmoid().numpy()
            table["predicted"] = [",".join(map(str, np.flatnonzero(p > 0.5))) for p in shares]
        else:
            shares = outputs.softmax(-1).numpy()
            table["predicted"] = shares.argmax(-1)
        table[[f"p_{k}" for k in range(shares.shape[1])]] = shares
        return table
