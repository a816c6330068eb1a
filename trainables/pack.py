"""Several models of one shape, trained as one: their weights stacked, every other thing their own.

What small models cost on a machine is calls, not arithmetic. A pack makes each call once for all:
it stacks the weights of K learners, computes K losses of one batch with products of stacked
matrices, and steps all of them with one optimiser. The learners go on owning what they own: their
parameters and their optimisers' states are views of the stacks, so that a learner can be saved,
validated, or trained alone at any time, and draws the random numbers that it would have drawn.

Networks whose products are large already, and the recurrent ones, take turns instead: learners
that are not `Stackable` share batches, process and optimiser only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from raysweep.trainables.learner import Learner
from raysweep.trainables.optim import TrainingConfig, build_optimizer, learning_rate
from raysweep.trainables.stacked import Stackable, StackedModels
from raysweep.trainables.trainer import Trainer, TrainingDivergedError, autocast

__all__ = ["Pack", "pack_key"]


def pack_key(learner: type[Learner[Any]], config: TrainingConfig) -> str:
    """Equal for configurations that can be in one pack."""
    fields = {k: v for k, v in config.to_dict().items() if k not in learner.packed_fields}
    return json.dumps(fields, sort_keys=True, default=list)


class Pack:
    """The trainer of several learners of one `pack_key`, at the same epoch and on the same data.

    Args:
        learners: at least one; batches are drawn from the first one's data.
    """

    def __init__(self, learners: Sequence[Learner[Any]]) -> None:
        self.learners = list(learners)
        self._lead = self.learners[0]
        self._trainers = [Trainer(learner) for learner in self.learners]
        self._stack = _Stack(self.learners) if isinstance(self._lead, Stackable) else None
        self._optimizer = _merge_optimizers(self.learners)

    def run_epoch(self) -> list[dict[str, float] | Exception]:
        """Trains one epoch, then validates, as `Trainer.run_epoch` does for one learner.

        Returns:
            for each learner its result, or the error that it alone has failed with.
        """
        lead, *others = self._trainers
        for trainer in others:
            trainer.begin_epoch()
        order = lead.begin_epoch()  # The last to seed: batches are drawn from its generator.
        losses = self._train_epoch(order)
        results: list[dict[str, float] | Exception] = []
        for trainer, loss in zip(self._trainers, losses, strict=True):
            try:
                results.append(trainer.end_epoch(loss))
            except TrainingDivergedError as error:
                results.append(error)
        return results

    def _train_epoch(self, order: torch.Generator) -> list[float]:
        lead, steps = self._lead, self._lead.num_batches()
        add_gradients = self._gradients_in_turn() if self._stack is None else self._stack.start()
        total = torch.zeros(len(self.learners), device=lead.device)
        for learner in self.learners:
            learner.model.train()
        for step, batch in enumerate(lead.batches(order)):
            for group in self._optimizer.param_groups:
                rate = learning_rate(group["config"], lead.epoch - 1 + step / steps)
                group["lr"] = rate * group["scale"]
            total += add_gradients(batch)
            self._optimizer.step()
        return (total / steps).tolist()

    def _gradients_in_turn(self) -> Callable[[Any], Tensor]:
        """A function that sets every parameter's gradient for a batch and returns the losses, [K].

        One learner after another; each draws from where it left PyTorch's generator.
        """
        positions = [_RandomPosition(learner.device) for learner in self.learners]

        def add_gradients(batch: Any) -> Tensor:
            losses = []
            for trainer, position in zip(self._trainers, positions, strict=True):
                learner = trainer.learner
                with position, autocast(learner.device):
                    loss = learner.loss(batch)
                learner.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                trainer.finish_gradients()
                losses.append(loss.detach())
            return torch.stack(losses)

        return add_gradients


class _Stack:
    """The same for learners whose weights are stacked: one loss and one backward for all."""

    def __init__(self, learners: Sequence[Learner[Any]]) -> None:
        self._lead = learners[0]
        self._models = StackedModels(learners)
        self._penalties = self._stack_penalties([learner.penalties() for learner in learners])

    def start(self) -> Callable[[Any], Tensor]:
        """Makes an epoch's generators, each where the one of a learner alone would start."""
        device, seed = self._lead.device, torch.initial_seed()
        generators = [torch.Generator(device).manual_seed(seed) for _ in self._models.learners]
        self._models.generators = generators
        return self._add_gradients

    def _add_gradients(self, batch: Any) -> Tensor:
        """Sets every parameter's gradient, penalties included; returns the losses, [K]."""
        assert isinstance(self._lead, Stackable)
        parameters = self._models.parameters
        with autocast(self._lead.device):
            losses = self._lead.stacked_loss(self._models, batch)  # [K]
        # Each learner's weights are in its own loss only, so the sum keeps them apart:
        # d(Σ_j L_j)/dw_k = dL_k/dw_k.
        gradients = torch.autograd.grad(losses.sum(), [stack for _, stack in parameters])
        with torch.no_grad():
            for (own, stack), strength, gradient in zip(
                parameters, self._penalties, gradients, strict=True
            ):
                # The fused optimisers read memory in order, whatever a gradient's strides are.
                gradient = gradient.contiguous()  # [K, ...], as the stack
                if strength is not None:
                    gradient.addcmul_(stack, strength, value=2.0)  # λ·Σw² has the gradient 2·λ·w
                for parameter, row in zip(own, gradient.unbind(), strict=True):
                    parameter.grad = row
        return losses.detach()

    def _stack_penalties(
        self, penalties: Sequence[list[tuple[Tensor, Tensor | float]]]
    ) -> list[Tensor | None]:
        """λ of every parameter, [K, ...], or None where no learner has one."""
        strengths = [{id(p): strength for p, strength in each} for each in penalties]
        stacked: list[Tensor | None] = []
        for parameters, stack in self._models.parameters:
            each = [k.get(id(p), 0.0) for k, p in zip(strengths, parameters, strict=True)]
            if not any(isinstance(one, Tensor) or one for one in each):
                stacked.append(None)
                continue
            shape = [1] * (stack.dim() - 1)
            rows = [one if isinstance(one, Tensor) else stack.new_full(shape, one) for one in each]
            stacked.append(torch.stack(torch.broadcast_tensors(*rows)).contiguous())
        return stacked


def _merge_optimizers(learners: Sequence[Learner[Any]]) -> torch.optim.Optimizer:
    """One optimiser over all parameters, which works on the learners' own states."""
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for learner in learners:
        for group in learner.optimizer.param_groups:
            key = (learner.config.learning_rate, group["scale"])
            new = {"params": [], "scale": group["scale"], "config": learner.config}
            groups.setdefault(key, new)["params"] += group["params"]
    merged = build_optimizer(list(groups.values()), learners[0].config)
    for learner in learners:
        for parameter in learner.model.parameters():
            merged.state[parameter] = learner.optimizer.state[parameter]
    return merged


class _RandomPosition:
    """A position in PyTorch's global generator, kept for as long as others draw from it."""

    def __init__(self, device: torch.device) -> None:
        self._module = torch.cuda if device.type == "cuda" else torch
        self._state = self._module.get_rng_state()

    def __enter__(self) -> None:
        self._module.set_rng_state(self._state)

    def __exit__(self, *error: object) -> None:
        self._state = self._module.get_rng_state()
