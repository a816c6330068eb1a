"""The weights of several models of one shape, stacked, and the layers that compute with them.

Shapes here and in every family's `stacked_loss`: K models, n rows of the batch that all share. A
weight [out, in] of one model is a row of a stack [K, out, in]. Values that still are the same for
all models are [n, width]; from the first layer with weights on they are [K, n, width].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Stackable", "StackedModels"]


class StackedModels:
    """K models of one class and shape, their parameters and buffers views of stacks.

    Attributes:
        learners: what the models belong to, for configurations and for data of their own.
        models: the models, K.
        parameters: for each parameter those of all models and their stack [K, ...].
        generators: for each model the generator that its dropout draws from; set for each epoch.

    Args:
        learners: with a `model` each; the models lie on one device.
    """

    def __init__(self, learners: Sequence[Any]) -> None:
        self.learners = learners
        self.models: list[nn.Module] = [learner.model for learner in learners]
        self.generators: list[torch.Generator] = []
        self._stacks: dict[int, Tensor] = {}
        # By position: a layer without weights may be there in one model and not in another.
        self.parameters: list[tuple[list[Tensor], Tensor]] = [
            (list(each), self._stack(each).requires_grad_())
            for each in zip(*(model.parameters() for model in self.models), strict=True)
        ]
        for buffers in zip(*(model.buffers() for model in self.models), strict=True):
            self._stack(buffers)

    def __len__(self) -> int:
        return len(self.learners)

    @torch.no_grad()
    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        """Stacks K tensors [...] to [K, ...], and makes each of them a view of its row."""
        stack = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, row in zip(tensors, stack.unbind(), strict=True):
            tensor.data = row
        self._stacks[id(tensors[0])] = stack
        return stack

    def of(self, tensor: Tensor | None) -> Tensor:
        """The stack [K, ...] of a parameter or buffer of the first model."""
        return self._stacks[id(tensor)]

    def per_learner(self, values: Iterable[float], dims: int) -> Tensor:
        """A number a model, float32 [K, 1, ...] of so many dimensions."""
        device = next(self.models[0].parameters()).device
        column = torch.tensor(list(values), dtype=torch.float32, device=device)
        return column.view(-1, *[1] * (dims - 1))

    def linear(self, layer: nn.Linear, rows: Tensor) -> Tensor:
        """A dense layer of every model: y_k = x_k·W_kᵀ + b_k.

        Args:
            layer: the first model's.
            rows: [n, in], the same for all, or [K, n, in].

        Returns:
            [K, n, out].
        """
        weight = self.of(layer.weight)  # [K, out, in]
        if layer.bias is None:
            return rows @ weight.transpose(1, 2)  # [K, n, in] @ [K, in, out]
        bias = self.of(layer.bias)  # [K, out]
        if rows.dim() == 3:
            # [K, 1, out] + [K, n, in] @ [K, in, out]
            return torch.baddbmm(bias[:, None], rows, weight.transpose(1, 2))
        # The same rows for all: one wide layer, [n, in] @ [in, K · out].
        wide = nn.functional.linear(rows, weight.flatten(0, 1), bias.flatten())
        return wide.view(len(rows), len(self), -1).transpose(0, 1)  # [n, K, out] -> [K, n, out]

    def embedding(self, stack: Tensor, ids: Tensor) -> Tensor:
        """Rows of every model's table.

        Args:
            stack: [K, rows, size].
            ids: int64 [n], the same for all.

        Returns:
            [K, n, size].
        """
        # One table [K · rows, size]: model k's row i is row k · rows + i of it.
        first = torch.arange(len(self), device=ids.device)[:, None] * stack.shape[1]  # [K, 1]
        return nn.functional.embedding(ids + first, stack.flatten(0, 1))

    def drop(self, rows: Tensor, rates: Sequence[float]) -> Tensor:
        """Dropout with a rate for each model: every one draws the mask that it would draw alone.

        Args:
            rows: [n, width], the same for all, or [K, n, width].
            rates: shares dropped; a model with 0 draws no mask.

        Returns:
            [K, n, width], or `rows` if nothing is dropped.
        """
        if not any(rates):
            return rows
        shape = (len(self), *rows.shape[-2:])
        kept = torch.ones(
            shape, dtype=rows.dtype, device=rows.device
        )  # 1 where kept, [K, n, width]
        for mask, rate, generator in zip(kept, rates, self.generators, strict=True):
            if rate:
                mask.bernoulli_(1 - rate, generator=generator)
        # What is kept is divided by its share, so that the expected value stays.
        return rows * kept / (1 - self.per_learner(rates, 3))


class Stackable(ABC):
    """What a family also implements if the weights of its models can be stacked.

    A `trainables.pack.Pack` of other families' learners shares batches, process and optimiser only.
    """

    @abstractmethod
    def stacked_loss(self, stacked: StackedModels, batch: Any) -> Tensor:
        """The loss of one batch for each of the models, [K]; called on the first one's learner."""
