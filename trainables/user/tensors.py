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
from raysweep.core.fingerprints import fingerprint as hash_of
from raysweep.data.tables.rows import read_rows
from raysweep.data.tables.stratified import stratified_split
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.optim import TrainingConfig
from raysweep.trainables.parallel import PartialBatch
from raysweep.trainables.user.evaluation import Evaluation
from raysweep.trainables.user.examples import Examples
from raysweep.trainables.user.from_torch import VERBS, split_unread

__all__ = ["NoData", "TensorLearner", "split"]

Batch = tuple[Tensor, Tensor]


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
    in_memory: bool = True,
    loader_workers: int = 0,
    fingerprint: str = "",
) -> Dataset:
    """Splits examples at random into training, validation and a sealed test set.

    Of classes (whole-number labels) every set has the same shares, as nearly as can be. With
    `in_memory=False` a dataset's examples are read as they are needed. Their labels are not read
    for the split, so there the shares are equal only where `labels` is given as well.

    Args:
        inputs: n examples in a row each, NumPy array or tensor of numbers, [n, ...]; or a
            `torch.utils.data.Dataset` of pairs of an input and its label, which is read once, or
            again in every epoch (see in_memory).
        labels: whole numbers from 0 (classes) [n]; fractions (values to predict) [n] or [n, k]; or
            0 and 1 as whole numbers (several labels, each there or not) [n, k]. With
            in_memory=False the class of each example, such as a dataset's `targets`, by which to
            split alone; left out, any split.
        seed: of the split.
        val: share of the examples to validate on.
        test: share of the examples to test on, which a search never sees.
        duplicates: whether equal examples are different ones that look alike, which may then be in
            several sets (see `Dataset`).
        in_memory: False leaves the examples of a map-style `torch.utils.data.Dataset` where they
            are, such as on disk; see `from_torch` for sets that are apart already, and streams.
        loader_workers: with in_memory=False processes that read ahead; see `from_torch`.
        fingerprint: with in_memory=False a word for the contents; see `from_torch`.

    Raises:
        UserError: no examples, another number of labels, or a value that is no finite number; with
            in_memory=False see `from_torch`.
    """
    shares = (1.0 - val - test, val, test)
    if not in_memory:
        return split_unread(
            inputs,
            labels,
            seed=seed,
            shares=shares,
            loader_workers=loader_workers,
            fingerprint=fingerprint,
            duplicates=duplicates,
        )
    if loader_workers or fingerprint:
        raise UserError("loader_workers and fingerprint go with in_memory=False; leave them out")
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
    rows = stratified_split(groups, shares, seed)
    parts = dict(zip(("train", "val", "test"), rows, strict=True))
    arrays = {f"{s}_{n}": v[parts[s]] for s in parts for n, v in (("inputs", x), ("labels", y))}
    sizes = ", ".join(f"{len(parts[name]):,} to {verb}" for name, verb in VERBS.items())
    return Dataset(
        arrays={name: v for name, v in arrays.items() if not name.startswith("test_")},
        test={name: v for name, v in arrays.items() if name.startswith("test_")},
        fingerprint=hash_of(*(arrays[name] for name in sorted(arrays))),
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
    """A model on inputs and labels; see the top of this file.

    What the labels are says what is minimised: of classes (whole numbers [n]) the cross-entropy, of
    several labels (0 and 1 [n, k]) the binary cross-entropy, of values (fractions) the squared
    error. `metrics` names what is measured: `val_loss`, `val_accuracy`, of values `val_rmse`, or
    any metric of torchmetrics by its name there, such as `val_auroc`, `val_f1_score` or
    `val_mean_absolute_error`. A model of values sets `metrics = {"val_rmse": "min", …}`. Each
    default can be replaced by one method: `loss`, `evaluate`, `batches`.

    A model that is trained on whichever data are named has `Data = raysweep.DataConfig`, and reads
    the file or folder `config.path()`. `load_data` returns a `Dataset` with arrays `train_inputs`,
    `train_labels`, `val_inputs` and `val_labels`, and the same for `test`; `split` makes one. What
    does not fit into memory is `train_examples`, `val_examples` and `test_examples` instead, which
    `split(…, in_memory=False)` and `from_torch` make.
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

    @property
    def _examples(self) -> Examples | None:
        """The training examples where they are not in memory."""
        examples: Examples | None = self.data.get("train_examples")
        return examples

    def num_batches(self) -> int:
        """As many as hold all training examples; the last one may be smaller."""
        examples = self.data["train_labels"] if self._examples is None else self._examples
        return -(-len(examples) // int(self.config.batch_size))

    def batches(self, generator: torch.Generator) -> Iterator[Batch | PartialBatch]:
        """Inputs and labels of `batch_size` examples, in a new order each epoch."""
        if self._examples is not None:
            yield from self._read(self._examples, generator)
            return
        inputs, labels = self.data["train_inputs"], self.data["train_labels"]
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for rows in order.split(int(self.config.batch_size)):
            yield inputs[rows], labels[rows]

    def _read(
        self, examples: Examples, generator: torch.Generator
    ) -> Iterator[Batch | PartialBatch]:
        size = int(self.config.batch_size)
        for batch in examples.epoch(generator, self.epoch, size, self.rank, self.num_workers):
            if isinstance(batch, PartialBatch):
                inputs, labels = batch.columns
                rows = batch.rows.to(self.device)
                yield PartialBatch((*self._moved(inputs, labels),), rows, batch.total)
            else:
                yield self._moved(*batch)

    def _moved(self, inputs: Tensor, labels: Tensor) -> Batch:
        return inputs.to(self.device), labels.to(self.device)

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

    def evaluate(self, data: Mapping[str, Any], prefix: str) -> dict[str, float]:
        """The metrics that the class names, and the loss."""
        names = [metric.removeprefix("val_") for metric in self.metrics]
        measured = Evaluation(self._loss, names)
        if f"{prefix}_examples" in data:
            for batch in data[f"{prefix}_examples"].chunks():
                inputs, labels = self._moved(*batch)
                measured.add(self.model(inputs).float(), labels)
        else:
            inputs, labels = data[f"{prefix}_inputs"], data[f"{prefix}_labels"]
            outputs = torch.cat([self.model(chunk).float() for chunk in inputs.split(self._CHUNK)])
            measured.add(outputs, labels)
        return {f"{prefix}_{name}": value for name, value in measured.results().items()}

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

        known, labels = self._known()
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

    def _known(self) -> Batch:
        """Inputs and labels in the form of the training examples."""
        if self._examples is not None:
            return self._examples.form.empty()
        return self.data["train_inputs"], self.data["train_labels"]
