"""L2 that is added to the gradient is that of the loss with λ·Σw² in it, for every trainable."""

from __future__ import annotations

from typing import Any

import torch

from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner, seed_everything
from raysweep.trainables.trainer import Trainer


def test_the_gradient_is_that_of_the_penalised_loss(
    learner_class: type[Learner[Any]], tiny_dataset: Dataset
) -> None:
    names = [name for name in learner_class.config_class.names() if name.endswith("_l2")]
    config = learner_class.config_class.create(dict.fromkeys(names, 0.05))
    learner = learner_class(config, tiny_dataset.arrays)
    learner.limit_gradients = lambda: None  # type: ignore[method-assign]
    learner.model.train()
    batch = next(iter(learner.batches(seed_everything(1))))
    penalties = learner.penalties()
    assert bool(penalties) == bool(names)

    def gradients(*, inside: bool) -> list[torch.Tensor]:
        learner.optimizer.zero_grad(set_to_none=True)
        seed_everything(2)
        loss = learner.loss(batch)
        if inside:
            loss = loss + sum((strength * w**2).sum() for w, strength in penalties)
        loss.backward()
        if not inside:
            Trainer(learner).finish_gradients()
        return [p.grad.clone() for p in learner.model.parameters() if p.grad is not None]

    for added, derived in zip(gradients(inside=False), gradients(inside=True), strict=True):
        torch.testing.assert_close(added, derived, rtol=1e-4, atol=1e-6)


def test_some_trainables_have_penalties(learner_class: type[Learner[Any]]) -> None:
    if not any(name.endswith("_l2") for name in learner_class.config_class.names()):
        assert learner_class.penalties is Learner.penalties
