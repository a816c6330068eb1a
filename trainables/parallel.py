"""Several processes that train one model: each takes rows of every batch, gradients are summed.

The sum over all workers of (loss of its rows x their share of the batch) is the loss of the whole
batch, whichever rows a worker takes; so are the gradients, and every worker makes the same step.
`torch.distributed` carries them: gloo between CPUs, NCCL between GPUs.

Gradients can be summed in two ways, which give the same sum:

* Between CPUs in one message, after backward. Measured with two processes on two cores of an AMD
  EPYC with other work on it (`python -m benchmarks.data_parallel`, medians of 6 rounds): with
  `DistributedDataParallel` epochs took 1.18 times as long for an image head of 0.3 million weights
  and 1.00 times for one of 2.4 million, weights being equal to the bit. Its overlap frees nothing
  here, because backward and messages need the same cores; and it imports PyTorch's compiler.
* Between GPUs by `DistributedDataParallel`: in buckets, while backward computes the next gradients.
  A GPU copies and computes at the same time, which is what that overlap is made for (Li et al.,
  "PyTorch Distributed", VLDB 2020). Tests prove with gloo that it gives one process's results; its
  speed between GPUs has not been measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Parallel", "PartialBatch", "Slice", "WholeBatchLayer"]

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class PartialBatch:
    """A batch of which this worker has read its own rows alone; the other workers have the rest.

    Attributes:
        columns: tensors of this worker's rows, n each.
        rows: where these rows are in the whole batch, int64 [n].
        total: rows of the whole batch.
    """

    columns: Batch
    rows: Tensor
    total: int


class Slice:
    """Which rows of the batch in work are here; layers that look at whole batches ask it.

    Attributes:
        total: rows of the whole batch.
        rows: where in it those are that are here, int64 [n]; None when all are.
    """

    def __init__(self) -> None:
        self.total = 0
        self.rows: Tensor | None = None

    def __deepcopy__(self, memo: Any) -> Slice:
        """A copied network stands alone."""
        return Slice()


class WholeBatchLayer:
    """What a layer inherits besides that must know of a batch's rows in other processes.

    Attributes:
        parallel: the processes; None when all rows of a batch are here.
    """

    parallel: Parallel | None = None


class Parallel:
    """This process among those of the process group.

    Attributes:
        rank: its number, from 0.
        num_workers: how many there are.
        overlap: whether gradients are summed while backward still computes others.
        slice: the part of the batch in work that is here.

    Args:
        overlap: see above; by default on GPUs (see `overlapped`).
    """

    def __init__(self, overlap: bool | None = None) -> None:
        self.rank, self.num_workers = dist.get_rank(), dist.get_world_size()
        self.overlap = dist.get_backend() == "nccl" if overlap is None else overlap
        self.slice = Slice()

    def attach(self, model: nn.Module) -> None:
        """Tells the layers that look at whole batches where the other rows are."""
        for layer in model.modules():
            if isinstance(layer, WholeBatchLayer):
                layer.parallel = self

    def split(self, batch: Batch | PartialBatch) -> tuple[Batch, float]:
        """This worker's rows of a batch, and their share of it; tensors of equal length."""
        if isinstance(batch, PartialBatch):
            return self._take(batch)
        total = len(batch[0])
        own = self.own(total)
        rows = torch.arange(own.start, own.stop, device=batch[0].device)
        return self._take(PartialBatch(tuple(values[own] for values in batch), rows, total))

    def _take(self, batch: PartialBatch) -> tuple[Batch, float]:
        self.slice.rows, self.slice.total = batch.rows, batch.total
        return batch.columns, len(batch.rows) / batch.total

    def own(self, total: int) -> slice:
        """Its share of `total` rows, in order."""
        first, end = (total * worker // self.num_workers for worker in (self.rank, self.rank + 1))
        return slice(first, end)

    def overlapped(self, model: nn.Module, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The same loss, its gradients made ready to be summed during backward where `overlap`.

        Args:
            model: whose weights the loss depends on, each of them in every batch.
            loss: called with what the result is called with.
        """
        if not self.overlap:
            return loss
        with warnings.catch_warnings():
            # The name that PyTorch prefers from 2.14 on is not there in 2.6.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            # Workers start with equal weights, and `WholeBatchLayer`s keep equal statistics.
            return DistributedDataParallel(
                _LossOf(model, loss), broadcast_buffers=False, init_sync=False
            )

    def backward(self, loss: Tensor, model: nn.Module) -> None:
        """Sets every weight's gradient to the sum of all workers' ones.

        Args:
            loss: what this worker's rows add to the loss of the batch, from `overlapped`'s result.
            model: as there.
        """
        if self.overlap:
            (loss * self.num_workers).backward()  # `DistributedDataParallel` takes the mean.
        else:
            loss.backward()
            self._sum_gradients(model)

    @torch.no_grad()
    def _sum_gradients(self, model: nn.Module) -> None:
        """Replaces every gradient by the sum over the workers, in one message."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not gradients:
            return
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(summed.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the workers, also of what autograd follows through it."""
        if values.requires_grad:
            summed: Tensor = _Sum.apply(values)
            return summed
        dist.all_reduce(values)
        return values

    def gather(self, value: int) -> list[int]:
        """Every worker's value, by rank."""
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        values = torch.zeros(self.num_workers, dtype=torch.int64, device=device)
        values[self.rank] = value
        return [int(v) for v in self.sum(values).tolist()]


class _LossOf(nn.Module):
    """A loss as a module's forward, which is what `DistributedDataParallel` wraps."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, *arguments: Any) -> Tensor:
        return self._loss(*arguments)


class _Sum(torch.autograd.Function):
    """y = Σ_w x_w on every worker w. Each worker's loss depends on y: dL/dx = Σ_w dL_w/dy."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        summed = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed
