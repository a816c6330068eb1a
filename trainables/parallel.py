"""Several processes that train one model: each takes rows of every batch, gradients are summed.

The sum over all workers of (loss of its rows x their share of the batch) is the loss of the whole
batch, whichever rows a worker takes; so are the gradients, and every worker makes the same step.
Plain `torch.distributed`: gloo on CPUs, NCCL on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Parallel", "Slice"]

Batch = tuple[Tensor, ...]


class Slice:
    """Which rows of the batch in work are here; layers that look at whole batches ask it.

    Attributes:
        total: rows of the whole batch.
        rows: places in it of those that are here, int64 [n]; None when all are.
    """

    def __init__(self) -> None:
        self.total = 0
        self.rows: Tensor | None = None

    def __deepcopy__(self, memo: Any) -> Slice:
        """A copied network stands alone."""
        return Slice()


class Parallel:
    """This process among those of the process group.

    Attributes:
        rank: its number, from 0.
        workers: how many there are.
        slice: the part of the batch in work that is here.
    """

    def __init__(self) -> None:
        self.rank, self.workers = dist.get_rank(), dist.get_world_size()
        self.slice = Slice()

    def split(self, batch: Batch) -> tuple[Batch, float]:
        """This worker's rows of a batch, and their share of it; tensors of equal length."""
        total = len(batch[0])
        here = self.own(total)
        rows = torch.arange(here.start, here.stop, device=batch[0].device)
        return self.take(tuple(values[here] for values in batch), rows, total)

    def take(self, part: Batch, rows: Tensor, total: int) -> tuple[Batch, float]:
        """Notes that these rows of a batch of `total` are here; returns them with their share."""
        self.slice.rows, self.slice.total = rows, total
        return part, len(rows) / total

    def own(self, total: int) -> slice:
        """Its share of `total` rows, in order."""
        return slice(total * self.rank // self.workers, total * (self.rank + 1) // self.workers)

    @torch.no_grad()
    def sum_gradients(self, model: nn.Module) -> None:
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
            from torch.distributed.nn.functional import all_reduce

            return all_reduce(values)
        dist.all_reduce(values)
        return values

    def gather(self, value: int) -> list[int]:
        """Every worker's value, by rank."""
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        values = torch.zeros(self.workers, dtype=torch.int64, device=device)
        values[self.rank] = value
        return [int(v) for v in self.sum(values).tolist()]
