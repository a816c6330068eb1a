"""One example as a pair of tensors: checked, and read with random numbers of its own."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raysweep.core.errors import UserError

__all__ = ["Batch", "Failure", "Form", "Pair", "as_pair", "own_randomness", "seed", "unreadable"]

Pair = tuple[Tensor, Tensor]
Batch = tuple[Tensor, Tensor]
_NUMBERS = (Tensor, np.ndarray, np.generic, bool, int, float, list, tuple)
_PARTS = ("input", "label")
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Form:
    """What all examples of a data set have in common.

    Attributes:
        input_shape: of one input.
        input_dtype: float32, or whole numbers as they were read.
        label_shape: of one label: () for a class or a value, (k,) for several.
        label_dtype: int64 or float32.
    """

    input_shape: tuple[int, ...]
    input_dtype: torch.dtype
    label_shape: tuple[int, ...]
    label_dtype: torch.dtype

    @classmethod
    def of(cls, pair: Pair) -> Form:
        """The form of an example."""
        x, y = pair
        return cls(tuple(x.shape), x.dtype, tuple(y.shape), y.dtype)

    def __str__(self) -> str:
        return f"{_shown(self.input_shape, self.input_dtype)} with the label " + (
            _shown(self.label_shape, self.label_dtype)
        )

    def empty(self) -> Batch:
        """A batch without rows: inputs [0, *input_shape] and labels [0, *label_shape]."""
        return (
            torch.empty((0, *self.input_shape), dtype=self.input_dtype),
            torch.empty((0, *self.label_shape), dtype=self.label_dtype),
        )

    def batch(self, name: str, numbers: Sequence[int], pairs: Sequence[Pair]) -> Batch:
        """Stacks examples.

        Args:
            name: of their set, for messages.
            numbers: of the examples, n.
            pairs: as `as_pair` gives them, n.

        Returns:
            inputs [n, ...] and labels [n, ...].

        Raises:
            UserError: an example has another form, a value that is no finite number, or a label
                that cannot be meant.
        """
        if not pairs:
            return self.empty()
        for number, pair in zip(numbers, pairs, strict=True):
            if (found := Form.of(pair)) != self:
                raise UserError(
                    f"{name} example {number} is {found}, and the first training example is "
                    f"{self}; all examples must have one shape and one type: have the dataset cut "
                    "or fill them to it"
                )
        inputs, labels = (torch.stack(column) for column in zip(*pairs, strict=True))
        for what, values in (("input", inputs), ("label", labels)):
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                bad = ~torch.isfinite(values).reshape(len(values), -1).all(1)
                number = numbers[int(bad.nonzero()[0])]
                raise UserError(
                    f"{name} example {number}: its {what} has a value that is no finite number; "
                    "leave such examples out of the dataset"
                )
        self._check_labels(name, labels)
        return inputs, labels

    def _check_labels(self, name: str, labels: Tensor) -> None:
        if labels.is_floating_point():
            return
        low, high = (int(each) for each in labels.aminmax())
        if not self.label_shape and low < 0:
            raise UserError(f"{name}: classes are whole numbers from 0, but a label is {low}")
        if self.label_shape and (low < 0 or high > 1):
            raise UserError(
                f"{name}: several whole-number labels an example must be 0 or 1 each, there or "
                "not; give values to predict as fractions (float)"
            )


def _shown(shape: Sequence[int], dtype: torch.dtype) -> str:
    size = " × ".join(map(str, shape)) or "one number"
    return f"{size} ({str(dtype).removeprefix('torch.')})"


def as_pair(name: str, number: int, example: Any) -> Pair:
    """An example's input and label as tensors on the CPU.

    Fractions become float32 and labels of whole numbers int64, as `raysweep.split` has them.

    Raises:
        UserError: it is no pair, or not of numbers.
    """
    if not isinstance(example, (tuple, list)) or len(example) != 2:
        has = f"{len(example)} parts" if isinstance(example, (tuple, list, dict)) else "no parts"
        raise UserError(
            f"{name} example {number} is a {type(example).__name__} of {has}, and no pair; have "
            "the dataset return (input, label)"
        )
    where = f"{name} example {number}"
    inputs, labels = (_tensor(f"{where}: its {w}", v) for w, v in zip(_PARTS, example, strict=True))
    return inputs, labels if labels.is_floating_point() else labels.to(torch.int64)


def _tensor(what: str, value: Any) -> Tensor:
    tensor: Tensor | None = None
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
    elif isinstance(value, _NUMBERS):
        # A copy: the array may be read-only, or a view of one that is changed for the next example.
        try:
            array = np.array(value)
        except ValueError:  # rows of several lengths
            array = np.array(None)
        if array.dtype.kind in "fiub":
            tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    if tensor is None or tensor.is_complex():
        kind = getattr(value, "dtype", type(value).__name__)
        raise UserError(
            f"{what} is no array of numbers ({kind}); have the dataset return a tensor, for an "
            "image torch.from_numpy(numpy.array(image)), say"
        )
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    return tensor.to(torch.int64) if tensor.dtype == torch.bool else tensor


@dataclass(frozen=True)
class Failure:
    """An error of a loader's process on its way to the training's: messages alone get there whole.

    Attributes:
        message: for the user.
        traceback: where it happened.
    """

    message: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Keeps an error that is being handled."""
        return cls(str(error), traceback.format_exc())

    def raise_again(self) -> None:
        """Raises it as the UserError that it was."""
        raise UserError(self.message) from RuntimeError(self.traceback)


def unreadable(name: str, number: int, error: Exception) -> UserError:
    """What to say of an example whose reading failed.

    It takes the place of the error: a trial takes an OSError for one of the run's storage.
    """
    hint = ""
    if isinstance(error, FileNotFoundError):
        hint = " (trials run in folders and on machines of their own: give absolute paths)"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return UserError(f"{name} example {number} cannot be read: {said}{hint}")


@contextmanager
def own_randomness() -> Iterator[None]:
    """Gives the global generators of PyTorch, NumPy and Python back as they were.

    So a dataset that draws from them takes no number from dropout's, and the other way round. These
    generators are old-fashioned, and what transforms of images draw from.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def seed(base: int, number: int) -> None:
    """Seeds the global generators for an example, whichever process reads it, after whichever.

    Args:
        base: of the epoch.
        number: of the example.
    """
    # SplitMix64 (Steele et al. 2014): neighbouring numbers get seeds that have nothing in common.
    value = (base + 0x9E3779B97F4A7C15 * (number + 1)) & _64_BITS
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _64_BITS
    value ^= value >> 31
    # `torch.manual_seed` would take GPUs along, which takes longer than reading a small example.
    torch.default_generator.manual_seed(value >> 1)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002
    random.seed(value)
