"""Loss and metrics of a set, whose outputs come a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raysweep.trainables.user.torchmetric import torchmetric

__all__ = ["Evaluation"]


class Evaluation:
    """Sums up what a network gave; keeps outputs only where a metric of torchmetrics needs all.

    Args:
        loss: the mean loss of outputs and labels.
        names: of metrics: `loss`, `accuracy`, of values `rmse`, or torchmetrics'.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], names: Sequence[str]) -> None:
        self._loss, self._names = loss, names
        self._rows, self._loss_sum = 0, 0.0
        self._labels, self._right = 0, 0
        self._values = False
        self._kept: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Takes outputs [n, ...] for labels [n] or [n, k], n at least 1."""
        num = len(labels)
        self._values = labels.is_floating_point()
        self._rows += num
        self._loss_sum += num * float(self._loss(outputs, labels))
        if not self._values and "accuracy" in self._names:
            guessed = outputs > 0 if labels.ndim > 1 else outputs.argmax(-1)
            self._right += int((guessed == labels).sum())
            self._labels += labels.numel()
        if not all(map(self._is_mean, self._names)):
            self._kept.append((outputs, labels))

    def _is_mean(self, name: str) -> bool:
        return name == "loss" or name == ("rmse" if self._values else "accuracy")

    def results(self) -> dict[str, float]:
        """The loss, and the metrics by name.

        Raises:
            UserError: nobody has a metric of that name, or torchmetrics is not installed.
        """
        loss = self._loss_sum / self._rows
        measured = {"loss": loss}
        for name in self._names:
            if name == "rmse" and self._values:
                measured[name] = loss**0.5
            elif name == "accuracy" and not self._values:
                measured[name] = self._right / self._labels
            elif name != "loss":
                outputs, labels = (torch.cat(each) for each in zip(*self._kept, strict=True))
                measured[name] = torchmetric(name, outputs, labels)
        return measured
