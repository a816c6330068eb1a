"""Several models of one shape, trained as one: their weights stacked, every other thing their own.

What small models cost on a machine is calls, not arithmetic. A pack makes each call once for all:
it stacks the weights of K learners, computes K losses of one batch with products of stacked
matrices, and steps all of them with one optimiser. The learners go on owning what they own: their
parameters and their optimisers' states are views of the stacks, so that a learner can be saved,
validated, or trained alone at any time, and draws the random numbers that it would have drawn.

Networks whose products are large already, and the recurrent ones, take turns instead: a family
without a `pack_loss` shares batches, process and optimiser only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.trainables.learner import Learner, TrainingDivergedError
from raysweep.trainables.optim import TrainingConfig, build_optimizer, learning_rate

__all__ = ["Pack", "pack_key"]


def pack_key(learner: type[Learner[Any]], config: TrainingConfig) -> str:
    """Equal for configurations that can be in one pack."""
    fields = {k: v for k, v in config.to_dict().items() if k not in learner.packed_fields}
    return json.dumps(fields, sort_keys=True, default=list)


class Pack:
    """Learners of one `pack_key`, at the same epoch and on the same data.

    Args:
        learners: at least one; the first one's data are read.
    """

    def __init__(self, learners: Sequence[Learner[Any]]) -> None:
        self.learners = list(learners)
        self.lead = self.learners[0]
        self.generators: list[torch.Generator] = []
        self._stacks: dict[int, Tensor] = {}
        # By position: a layer without weights may be there in one model and not in another.
        models = [learner.model for learner in self.learners]
        self._parameters: list[tuple[list[Tensor], Tensor]] = []
        if self.lead.stacks:
            self._parameters = [
                (list(each), self._stack(each).requires_grad_())
                for each in zip(*(model.parameters() for model in models), strict=True)
            ]
            for buffers in zip(*(model.buffers() for model in models), strict=True):
                self._stack(buffers)
            self._strengths = self._stack_penalties()
        self._optimizer = self._merge_optimizers()

    def __len__(self) -> int:
        return len(self.learners)

    def of(self, tensor: Tensor | None) -> Tensor:
        """The stack [K, ...] of a parameter or buffer of the first learner's model."""
        return self._stacks[id(tensor)]

    def per_learner(self, values: Sequence[float], dims: int) -> Tensor:
        """A number a learner, float32 [K, 1, ...] of so many dimensions."""
        column = torch.tensor(values, dtype=torch.float32, device=self.lead.device)
        return column.view(-1, *[1] * (dims - 1))

    def linear(self, layer: nn.Linear, rows: Tensor) -> Tensor:
        """A dense layer of every learner.

        Args:
            layer: the first learner's.
            rows: [n, in], the same for all, or [K, n, in].

        Returns:
            [K, n, out].
        """
        weight = self.of(layer.weight)
        if layer.bias is None:
            return rows @ weight.transpose(1, 2)
        bias = self.of(layer.bias)
        if rows.dim() == 3:
            return torch.baddbmm(bias[:, None], rows, weight.transpose(1, 2))
        wide = nn.functional.linear(rows, weight.flatten(0, 1), bias.flatten())
        return wide.view(len(rows), len(self), -1).transpose(0, 1)

    def embedding(self, stack: Tensor, ids: Tensor) -> Tensor:
        """Rows of every learner's table.

        Args:
            stack: [K, rows, size].
            ids: int64 [n], the same for all.

        Returns:
            [K, n, size].
        """
        first = torch.arange(len(self), device=ids.device)[:, None] * stack.shape[1]
        return nn.functional.embedding(ids + first, stack.flatten(0, 1))

    def drop(self, rows: Tensor, rates: Sequence[float]) -> Tensor:
        """Dropout with a rate for each learner: every one draws the mask that it would draw alone.

        Args:
            rows: [n, width], the same for all, or [K, n, width].
            rates: shares dropped; a learner with 0 draws no mask.

        Returns:
            [K, n, width], or `rows` if nothing is dropped.
        """
        if not any(rates):
            return rows
        shape = (len(self), *rows.shape[-2:])
        kept = torch.ones(shape, dtype=rows.dtype, device=rows.device)
        for mask, rate, generator in zip(kept, rates, self.generators, strict=True):
            if rate:
                mask.bernoulli_(1 - rate, generator=generator)
        return rows * kept / (1 - self.per_learner(rates, 3))

    def run_epoch(self) -> list[dict[str, float] | Exception]:
        """Trains one epoch, then validates, as `Learner.run_epoch` does for one.

        Returns:
            for each learner its result, or the error that it alone has failed with.
        """
        for learner in self.learners[1:]:
            learner.begin_epoch()
        order = self.lead.begin_epoch()  # The last to seed: batches are drawn from its generator.
        device, seed = self.lead.device, torch.initial_seed()
        self.generators = [torch.Generator(device).manual_seed(seed) for _ in self.learners]
        self._random = [_Random(device) for _ in self.learners]
        losses = self._train(order)
        results: list[dict[str, float] | Exception] = []
        for learner, loss in zip(self.learners, losses, strict=True):
            try:
                results.append(learner.end_epoch(loss))
            except TrainingDivergedError as error:
                results.append(error)
        return results

    def _train(self, order: torch.Generator) -> list[float]:
        lead, steps = self.lead, self.lead.num_batches()
        add_gradients = self._stacked_gradients if lead.stacks else self._gradients_in_turn
        total = torch.zeros(len(self), device=lead.device)
        for learner in self.learners:
            learner.model.train()
        for step, batch in enumerate(lead.batches(order)):
            for group in self._optimizer.param_groups:
                rate = learning_rate(group["config"], lead.epoch - 1 + step / steps)
                group["lr"] = rate * group["scale"]
            total += add_gradients(batch)
            self._optimizer.step()
        return (total / steps).tolist()

    def _stacked_gradients(self, batch: Any) -> Tensor:
        """Sets every parameter's gradient, penalties included; returns the losses, [K]."""
        with self._autocast():
            losses = self.lead.pack_loss(self, batch)
        # Each learner's weights are in its own loss only, so the sum keeps them apart.
        gradients = torch.autograd.grad(losses.sum(), [stack for _, stack in self._parameters])
        with torch.no_grad():
            for (parameters, stack), strength, gradient in zip(
                self._parameters, self._strengths, gradients, strict=True
            ):
                # The fused optimisers read memory in order, whatever a gradient's strides are.
                gradient = gradient.contiguous()
                if strength is not None:
                    gradient.addcmul_(stack, strength, value=2.0)
                for parameter, own in zip(parameters, gradient.unbind(), strict=True):
                    parameter.grad = own
        return losses.detach()

    def _gradients_in_turn(self, batch: Any) -> Tensor:
        """The same, one learner after another; each draws from where it left the generator."""
        losses = []
        for learner, random in zip(self.learners, self._random, strict=True):
            with random, self._autocast():
                loss = learner.loss(batch)
            learner.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            learner.finish_gradients()
            losses.append(loss.detach())
        return torch.stack(losses)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=self.lead.device.type == "cuda")

    @torch.no_grad()
    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        """Stacks tensors, and makes each of them a view of its row."""
        stack = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, row in zip(tensors, stack.unbind(), strict=True):
            tensor.data = row
        self._stacks[id(tensors[0])] = stack
        return stack

    def _merge_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser over all parameters, which works on the learners' own states."""
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for learner in self.learners:
            for group in learner.optimizer.param_groups:
                key = (learner.config.learning_rate, group["scale"])
                new = {"params": [], "scale": group["scale"], "config": learner.config}
                groups.setdefault(key, new)["params"] += group["params"]
        merged = build_optimizer(list(groups.values()), self.lead.config)
        for learner in self.learners:
            for parameter in learner.model.parameters():
                merged.state[parameter] = learner.optimizer.state[parameter]
        return merged

    def _stack_penalties(self) -> list[Tensor | None]:
        """λ of every parameter, [K, ...], or None where no learner has one."""
        known = [{id(p): strength for p, strength in one.penalties()} for one in self.learners]
        stacked: list[Tensor | None] = []
        for parameters, stack in self._parameters:
            each = [k.get(id(p), 0.0) for k, p in zip(known, parameters, strict=True)]
            if not any(isinstance(one, Tensor) or one for one in each):
                stacked.append(None)
                continue
            shape = [1] * (stack.dim() - 1)
            rows = [one if isinstance(one, Tensor) else stack.new_full(shape, one) for one in each]
            stacked.append(torch.stack(torch.broadcast_tensors(*rows)).contiguous())
        return stacked


class _Random:
    """A position in PyTorch's global generator, kept for as long as others draw from it."""

    def __init__(self, device: torch.device) -> None:
        self._module = torch.cuda if device.type == "cuda" else torch
        self._state = self._module.get_rng_state()

    def __enter__(self) -> None:
        self._module.set_rng_state(self._state)

    def __exit__(self, *error: object) -> None:
        self._state = self._module.get_rng_state()
