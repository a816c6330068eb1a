"""Optimisers and learning-rate schedules, by the names that configurations use."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError

__all__ = [
    "TrainingConfig",
    "build_optimizer",
    "complete_momentum",
    "learning_rate",
    "parse_phases",
]

OPTIMIZERS = ("adam", "sgd", "adagrad")
SCHEDULES = ("constant", "linear", "cosine", "phases")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig(Config):
    """The fields that every trainable shares: how long, how fast, in which order."""

    epochs: int = option(20, "passes over the training set", low=1)
    stop_after: int | None = option(
        None, "epochs after which to stop, within a schedule of all `epochs`; all by default", low=1
    )
    stop_patience: int | None = option(
        None, "epochs without a better validation metric that end training; none by default", low=1
    )
    batch_size: int = option(512, "examples a step", low=1)
    optimizer: str = option("adam", "update rule", choices=OPTIMIZERS)
    learning_rate: float = option(5e-3, "step size at its highest", low=1e-7, high=10.0)
    schedule: str = option(
        "linear",
        "learning rate over the run: constant, linear or cosine to zero, or lr_phases",
        choices=SCHEDULES,
    )
    lr_phases: str = option(
        "", "with schedule=phases: epochs and rate of each phase, e.g. 1x1e-3,6x1e-2,15x1e-3"
    )
    momentum: float = option(0.9, "momentum of sgd; others ignore it", low=0.0, high=0.999)
    seed: int = option(0, "seeds the weights, and with the epoch's number everything random", low=0)

    def check(self) -> None:
        """Refuses phases without a phase schedule, and the other way round; stops after the end."""
        if self.stop_after is not None and self.stop_after > self.epochs:
            raise UserError(f"stop_after={self.stop_after} is more than epochs={self.epochs}")
        if (self.schedule == "phases") != bool(self.lr_phases):
            raise UserError(
                "schedule=phases and lr_phases belong together, "
                f"but schedule={self.schedule} and lr_phases={self.lr_phases!r}"
            )
        if self.lr_phases:
            parse_phases(self.lr_phases)

    def search_ranges(self) -> Mapping[str, Any]:
        """What search spaces try for these fields, where their own ranges do not suit the model.

        Returns:
            By field: (lowest, highest) or a list of values; for `learning_rate` also the range of
            each optimiser by its name; None where no space is to search the field, as it is set
            here. Spaces have ranges for fields that are not named. They ask in this order.
        """
        return {}


def parse_phases(text: str) -> list[tuple[int, float]]:
    """Parses `1x1e-3,6x1e-2` to [(1, 0.001), (6, 0.01)]: epochs and learning rate of each phase."""
    phases = []
    for part in text.split(","):
        count, _, rate = part.partition("x")
        try:
            phases.append((int(count), float(rate)))
        except ValueError:
            raise UserError(
                f"lr_phases={text!r}: {part.strip()!r} is not EPOCHSxRATE such as 6x1e-2"
            ) from None
        if phases[-1][0] < 1 or not 0 < phases[-1][1] < 100:
            raise UserError(
                f"lr_phases={text!r}: {part.strip()!r} needs epochs >= 1 and a rate > 0"
            )
    return phases


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """The learning rate at a point of the run.

    Args:
        config: schedule, learning_rate, lr_phases and epochs are read.
        progress: epochs done so far, a fraction of the current one included.
    """
    if config.schedule == "phases":
        start = 0
        for count, rate in parse_phases(config.lr_phases):
            start += count
            if progress < start:
                return rate
        return rate
    done = min(progress / config.epochs, 1.0)
    if config.schedule == "linear":
        return config.learning_rate * (1.0 - done)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
    return config.learning_rate


def build_optimizer(
    parameters: list[dict[str, Any]], config: TrainingConfig
) -> torch.optim.Optimizer:
    """Builds the optimiser; the fused kernels do one pass over memory instead of a dozen.

    Weight decay is left at zero everywhere: the L2 fields add λ·Σw² to the loss instead, so that
    the same λ means the same with every optimiser.
    """
    rate = config.learning_rate
    if config.optimizer == "adam":
        return _without_compiler(torch.optim.Adam)(parameters, lr=rate, fused=True)
    if config.optimizer == "adagrad":
        return _without_compiler(torch.optim.Adagrad)(parameters, lr=rate, fused=True)
    momentum = config.momentum
    return _without_compiler(torch.optim.SGD)(parameters, lr=rate, momentum=momentum, fused=True)


def complete_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Gives weights that were frozen until now the momentum 0, where others have momentum.

    PyTorch's fused SGD fails where some weights have a momentum and others have none yet. For them
    v = μ·0 + g is what it starts with anyway.
    """
    for group in optimizer.param_groups:
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        if any("momentum_buffer" in optimizer.state.get(each, {}) for each in trained):
            for each in trained:
                optimizer.state[each].setdefault("momentum_buffer", torch.zeros_like(each))


@cache
def _without_compiler(optimizer: Any) -> Any:
    """The optimiser's class, its methods free of the wrappers that import PyTorch's compiler.

    Those wrappers tell `torch.compile` where to break a graph. Nothing is compiled here, and the
    import cost each worker 1.1 s of processor time and 150 MiB before its first batch.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), methods)
