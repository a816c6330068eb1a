"""The training loop: one epoch of one learner at a time, alone or shared with other processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError
from raysweep.trainables.learner import Learner, seed_everything
from raysweep.trainables.optim import complete_momentum, learning_rate
from raysweep.trainables.parallel import Parallel

__all__ = ["Trainer", "TrainingDivergedError", "autocast"]


class TrainingDivergedError(RuntimeError):
    """The loss stopped being a finite number."""


class Trainer:
    """Trains a learner, an epoch at a time.

    It keeps nothing from one epoch to the next: all that an epoch depends on is in the learner's
    `state_dict`. So a new trainer goes on exactly where another one stopped.

    Args:
        learner: what is trained.
        parallel: the processes that share its batches. All must have the learner in the same state.

    Raises:
        UserError: the family's batches cannot be shared.
    """

    def __init__(self, learner: Learner[Any], parallel: Parallel | None = None) -> None:
        self.learner, self.parallel = learner, parallel
        if parallel is None:
            return
        if learner.splits == "no":
            raise UserError(f"{learner.name} trains in one process only; leave --workers out")
        norms = [
            m for m in learner.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        if norms and learner.splits == "rows":
            raise UserError(
                f"{learner.name} has batch normalisation, whose averages depend on the rows that a "
                "process gets; leave --workers out"
            )
        learner.rank, learner.num_workers = parallel.rank, parallel.num_workers
        parallel.attach(learner.model)

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch, then validates.

        Returns:
            epoch (from 1), learning_rate (at the epoch's start), train_loss and the validation
            metrics.

        Raises:
            TrainingDivergedError: the loss or a metric is NaN or infinite.
        """
        return self.end_epoch(self.train_epoch(self.begin_epoch()))

    def begin_epoch(self) -> torch.Generator:
        """Counts the epoch and seeds it; returns the generator that its batches are drawn from."""
        # A weight without gradient for a while has moments below 1e-38, and some processors take
        # many times as long for such numbers: a third of an epoch of a text model went there. The
        # setting belongs to a thread, so it is made in each epoch.
        torch.set_flush_denormal(True)
        learner = self.learner
        learner.epoch += 1
        generator = seed_everything(learner.config.seed, learner.epoch)
        if learner.splits != "exactly" and learner.rank:
            # What is dropped from other rows is drawn anew; the order of rows stays common to all.
            seed_everything(learner.config.seed, learner.epoch, learner.rank)
        learner.on_epoch_start(learner.epoch)
        complete_momentum(learner.optimizer)
        return generator

    def train_epoch(self, generator: torch.Generator) -> float:
        """Trains on the epoch's batches; returns the mean of their losses."""
        learner = self.learner
        learner.model.train()
        loss_of = self._loss_of_batch()
        steps = learner.num_batches()
        total = torch.zeros((), device=learner.device)
        for step, batch in enumerate(learner.batches(generator)):
            rate = learning_rate(learner.config, learner.epoch - 1 + step / steps)
            for group in learner.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            learner.optimizer.zero_grad(set_to_none=True)
            with autocast(learner.device):
                loss = loss_of(batch)
            if self.parallel is None:
                loss.backward()
            else:
                self.parallel.backward(loss, learner.model)
            self.finish_gradients()
            learner.optimizer.step()
            # Summed on the device: asking for a number each step would wait for the GPU.
            total += loss.detach()
        if self.parallel is not None:
            total = self.parallel.sum(total)
        return float(total) / steps

    def end_epoch(self, train_loss: float) -> dict[str, float]:
        """Validates; returns and raises what `run_epoch` does."""
        learner = self.learner
        result = {
            "epoch": learner.epoch,
            "learning_rate": learning_rate(learner.config, learner.epoch - 1),
            "train_loss": train_loss,
        }
        result |= learner.validate() if self.parallel is None else self._validate(self.parallel)
        if not np.isfinite(list(result.values())).all():
            raise TrainingDivergedError(
                f"the loss is not finite after epoch {learner.epoch}: learning_rate="
                f"{learner.config.learning_rate:g} is probably too high for this configuration"
            )
        return result

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Adds the penalties' gradients to those of the loss, and limits both.

        The gradient of λ·Σw² is 2·λ·w. Added directly it is one pass over memory, where autograd
        would need several.
        """
        for parameter, strength in self._penalties:
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None
            if isinstance(strength, Tensor):
                # λ [rows, 1] for w [rows, size].
                parameter.grad.addcmul_(parameter, strength, value=2.0)
            else:
                parameter.grad.add_(parameter, alpha=2.0 * strength)
        self.learner.limit_gradients()

    @cached_property
    def _penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        return self.learner.penalties()

    def _loss_of_batch(self) -> Callable[[Any], Tensor]:
        """The loss of a batch; with other processes, what this one's rows add to it."""
        parallel = self.parallel
        if parallel is None:
            return self.learner.loss
        # Anew in each epoch: which weights are frozen may have changed.
        loss_of_rows = parallel.overlapped(self.learner.model, self._loss_of_rows)
        return lambda batch: loss_of_rows(*parallel.split(batch))

    def _loss_of_rows(self, rows: Any, share: float) -> Tensor:
        """The mean loss of some rows, times their share of the batch."""
        if share or self.learner.splits == "exactly":
            return self.learner.loss(rows) * share
        # Without rows there is no mean: a 0 that gives every weight a gradient of 0.
        weights = [p.sum() for p in self.learner.model.parameters() if p.requires_grad]
        return torch.stack(weights).sum() * 0.0

    def _validate(self, parallel: Parallel) -> dict[str, float]:
        """Metrics on this worker's rows, averaged over the workers by their rows."""
        learner = self.learner
        total = learner.num_validation_examples()
        own = parallel.own(total)
        share = (own.stop - own.start) / total
        names = sorted(learner.metrics)
        sums = torch.zeros(len(names), dtype=torch.float64, device=learner.device)
        if share:
            metrics = learner.validate(own)
            values = torch.tensor([metrics[name] for name in names], dtype=torch.float64)
            sums += values.to(sums) * share
        # Shares of a sum round differently from the whole: equal accuracies are to stay equal.
        means = (round(mean, 12) for mean in parallel.sum(sums).tolist())
        return dict(zip(names, means, strict=True))


def autocast(device: torch.device) -> torch.autocast:
    """On GPUs bfloat16 for what gains by it; nothing elsewhere."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")
