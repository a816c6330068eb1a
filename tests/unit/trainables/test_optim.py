"""Learning-rate schedules and optimisers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.trainables.optim import (
    OPTIMIZERS,
    SCHEDULES,
    TrainingConfig,
    build_optimizer,
    complete_momentum,
    learning_rate,
    parse_phases,
)


def config(**fields: Any) -> TrainingConfig:
    return TrainingConfig.create({"epochs": 10, "learning_rate": 0.1, **fields})


@pytest.mark.parametrize(
    ("schedule", "start", "quarter", "middle", "end"),
    [
        ("constant", 0.1, 0.1, 0.1, 0.1),
        ("linear", 0.1, 0.075, 0.05, 0.0),
        ("cosine", 0.1, 0.05 * (1 + 2**-0.5), 0.05, 0.0),
    ],
)
def test_schedules_pass_through_their_points(
    schedule: str, start: float, quarter: float, middle: float, end: float
) -> None:
    rates = [learning_rate(config(schedule=schedule), p) for p in (0, 2.5, 5, 10)]
    assert rates == pytest.approx([start, quarter, middle, end], abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_fall_all_the_way_and_stay_at_zero(schedule: str) -> None:
    rates = [learning_rate(config(schedule=schedule), k / 10) for k in range(101)]
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert learning_rate(config(schedule=schedule), 11) == pytest.approx(0.0, abs=1e-12)


def test_phases_hold_their_rates_for_their_epochs() -> None:
    phased = config(schedule="phases", lr_phases="1x1e-3,6x1e-2,3x1e-4")
    rates = [learning_rate(phased, p) for p in (0, 0.99, 1, 6.99, 7, 9.99)]
    assert rates == [1e-3, 1e-3, 1e-2, 1e-2, 1e-4, 1e-4]


def test_the_last_phase_goes_on_to_the_end() -> None:
    phased = config(schedule="phases", lr_phases="1x1e-3,2x1e-2")
    assert learning_rate(phased, 9.5) == 1e-2


def test_phases_are_parsed_with_and_without_blanks() -> None:
    assert parse_phases("1x1e-3,6x1e-2") == [(1, 0.001), (6, 0.01)]
    assert parse_phases("1x1e-3, 6x1e-2") == [(1, 0.001), (6, 0.01)]


@pytest.mark.parametrize(
    "text", ["x", "3", "1x", "x1e-3", "1.5x1e-3", "0x1e-3", "-1x0.1", "1x0", "1x-0.1", "1xnan"]
)
def test_a_phase_that_makes_no_sense_is_quoted(text: str) -> None:
    with pytest.raises(UserError, match="lr_phases=") as error:
        parse_phases(f"2x0.1,{text}")
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [{"schedule": "phases"}, {"lr_phases": "1x0.1"}, {"schedule": "phases", "lr_phases": "ax1"}],
)
def test_a_configuration_with_half_a_phase_schedule_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(UserError, match="lr_phases"):
        config(**fields)


def test_every_schedule_is_covered_here() -> None:
    assert set(SCHEDULES) == {"constant", "linear", "cosine", "phases"}


def groups(*weights: torch.nn.Parameter) -> list[dict[str, Any]]:
    return [{"params": list(weights), "scale": 1.0}]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_walks_downhill(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer(groups(weight), config(optimizer=name))
    losses = []
    for _ in range(20):
        optimizer.zero_grad(set_to_none=True)
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_decays_weights_by_itself(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer(groups(weight), config(optimizer=name))
    weight.grad = torch.zeros(2)
    optimizer.step()
    assert weight.tolist() == [1.0, -2.0]


def test_the_first_step_has_the_configured_rate() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = build_optimizer(groups(weight), config(optimizer="sgd", learning_rate=0.25))
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight.item() == pytest.approx(0.75)


def test_sgd_has_the_configured_momentum() -> None:
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = build_optimizer(groups(weight), config(optimizer="sgd", momentum=0.5))
    for _ in range(2):
        weight.grad = torch.ones(1)
        optimizer.step()
    assert weight.item() == pytest.approx(-0.1 - 0.1 * 1.5)


def test_a_weight_that_was_frozen_starts_as_in_an_optimiser_of_its_own() -> None:
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    alone = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    weights[1].requires_grad_(False)
    settings = config(optimizer="sgd", momentum=0.5)
    both, one = (
        build_optimizer(groups(*weights), settings),
        build_optimizer(groups(alone), settings),
    )
    for step in range(4):
        weights[1].requires_grad_(step > 1)
        complete_momentum(both)
        for weight in (*weights, alone):
            weight.grad = weight.detach().square() if weight.requires_grad else None
        both.step()
        if step > 1:
            one.step()
    assert torch.equal(weights[1], alone)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_steps_as_pytorchs_own(name: str) -> None:
    classes = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    more = {"momentum": 0.9} if name == "sgd" else {}
    theirs = classes[name]([weights[1]], lr=0.1, fused=True, **more)
    ours = build_optimizer([{"params": [weights[0]]}], config(optimizer=name))
    for number in range(3):
        for weight, optimizer in zip(weights, (ours, theirs), strict=True):
            optimizer.zero_grad()
            (weight.square().sum() * (number + 1)).backward()
            optimizer.step()
        assert torch.equal(*weights)
    states = [optimizer.state_dict()["state"][0] for optimizer in (ours, theirs)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_training_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from raysweep.trainables.optim import OPTIMIZERS, TrainingConfig\n"
        "from raysweep.trainables.optim import build_optimizer\n"
        "for name in OPTIMIZERS:\n"
        "    w = torch.nn.Parameter(torch.ones(3))\n"
        "    o = build_optimizer([{'params': [w]}], TrainingConfig.create({'optimizer': name}))\n"
        "    o.zero_grad(); w.sum().backward(); o.step(); o.load_state_dict(o.state_dict())\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
