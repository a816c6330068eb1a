"""Batch normalisation inserted into trained networks: the same outputs, exact statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError
from raysweep.trainables.images.batchnorm import (
    LastBatchNorm,
    StreamingMoments,
    insert,
    insert_batch_norm,
    largest_change,
    measure,
    merge_sites,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def moments_of(rows: np.ndarray, sizes: list[int]) -> StreamingMoments:
    moments = StreamingMoments(rows.shape[1])
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.update(torch.from_numpy(part))
    return moments


class Branching(nn.Module):
    """A convolution, a dense layer on sequences, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True))
        self.tokens = nn.Linear(6, 5)
        self.shared = nn.ReLU()
        self.alias = self.shared
        self.out = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.shared(self.tokens(self.conv(images).flatten(2).mT))
        return self.out(self.alias(tokens.mean(1) + 0.5))


class Tangled(nn.Module):
    """One activation after layers of different widths, and one that gives two things."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Linear(4, 5), nn.Linear(5, 6), nn.ReLU()
        self.lstm = nn.LSTM(6, 6)

    def forward(self, rows: Tensor) -> Tensor:
        return self.lstm(self.act(self.two(self.act(self.one(rows)))))[0]


def test_moments_are_numpys_also_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(1000, 7)) * np.logspace(-3, 3, 7) + 1e4).astype(np.float32)
    moments = moments_of(rows, [1, 99, 0, 500, 400])
    exact = rows.astype(np.float64)
    assert moments.count == 1000
    np.testing.assert_allclose(moments.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, exact.var(0), rtol=1e-9)


def test_one_worker_and_three_agree() -> None:
    rng = np.random.default_rng(1)
    rows = rng.gamma(0.3, 100.0, size=(600, 5)).astype(np.float32)
    whole = moments_of(rows, [600])
    parts = [moments_of(rows[k::3], [100, 100]) for k in range(3)]
    merged = StreamingMoments(5)
    for part in [parts[2], StreamingMoments(5), parts[0], parts[1]]:
        merged.merge(part)
    assert merged.count == 600
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.variance, whole.variance, rtol=1e-12)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="for 3 channels"):
        StreamingMoments(3).update(torch.zeros(4, 2))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_outputs_stay_and_training_normalises(scale: float) -> None:
    network = nn.Sequential(
        nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10), nn.ReLU(), nn.Linear(10, 3)
    )
    rows = torch.randn(200, 20) * scale + 3 * scale
    better = insert_batch_norm(network, ["1", "3"], rows.split(64))
    change = largest_change(network, better, rows.split(64))
    assert change.spread == pytest.approx(
        float(network(rows).detach().std(unbiased=False)), rel=1e-4
    )
    assert change.relative < 1e-5
    better.train()
    inside = better[1][1]
    plain = nn.functional.batch_norm(network[:2](rows), None, None, training=True)
    normalised = (inside(network[:2](rows)) - inside.bias) / inside.weight
    torch.testing.assert_close(normalised, plain, atol=1e-3, rtol=1e-3)


def test_the_epsilon_counts_where_a_channel_hardly_varies() -> None:
    """Without it in γ a nearly constant channel would shrink to nothing."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        network[0].weight.mul_(1e-4)
    rows = torch.randn(64, 4)
    better = insert_batch_norm(network, ["0"], [rows], eps=1e-3)
    assert largest_change(network, better, [rows * 50]).relative < 1e-4


def test_convolutions_sequences_and_shared_layers() -> None:
    network = Branching()
    images = torch.randn(32, 3, 8, 8)
    names = ["conv.0", "conv.1", "tokens"]
    better = insert_batch_norm(network, names, images.split(8))
    assert isinstance(better.conv[0][1], nn.BatchNorm2d)
    assert isinstance(better.tokens[1], LastBatchNorm)
    assert largest_change(network, better, [images]).relative < 1e-5
    values = network.conv[0](images).detach().double().numpy()
    np.testing.assert_allclose(better.conv[0][1].running_var, values.var((0, 2, 3)), rtol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules()), "a new network"


def test_a_layer_with_two_names_is_normalised_under_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a

        def forward(self, rows: Tensor) -> Tensor:
            return self.b(self.a(rows))

    network = Twice()
    rows = torch.randn(50, 3)
    better = insert_batch_norm(network, ["b"], [rows])
    assert better.a is better.b
    assert largest_change(network, better, [rows]).relative < 1e-5


def test_sites_of_workers_merge_to_the_same_network() -> None:
    network, images = Branching(), torch.randn(30, 3, 8, 8)
    names = ["conv.1", "tokens"]
    whole = insert(network, measure(network, names, [images]))
    parts = [measure(network, names, [part]) for part in images.split([3, 7, 20])]
    merged = insert(network, merge_sites(parts))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(merged.state_dict()[name], value, rtol=1e-6, atol=1e-9)
    assert parts[0]["tokens"].moments.count == 3 * 36, "merging changes no part"


def test_the_mode_and_the_hooks_are_put_back() -> None:
    network = Branching().train()
    measure(network, ["tokens"], [torch.randn(2, 3, 8, 8)])
    assert network.training
    assert not network.tokens._forward_hooks


def test_an_unknown_layer_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"did you mean 'tokens'"):
        measure(Branching(), ["tokns"], [])
    with pytest.raises(UserError, match="no layer ''"):
        measure(Branching(), [""], [])


def test_what_cannot_be_normalised_is_refused() -> None:
    rows = torch.randn(8, 4)
    with pytest.raises(UserError, match="'lstm' gives no tensor"):
        measure(Tangled(), ["lstm"], [rows])
    with pytest.raises(UserError, match="different shapes"):
        measure(Tangled(), ["act"], [rows])
    with pytest.raises(UserError, match="nothing went through"):
        measure(Tangled(), ["one"], [])
    with pytest.raises(UserError, match="not finite"):
        insert_batch_norm(Tangled(), ["one"], [rows * float("nan")])
