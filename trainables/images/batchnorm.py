"""Batch normalisation inserted into a trained network without changing what it computes.

    better = insert_batch_norm(network, ["classifier.1", "classifier.4"], batches)

The inserted layer's statistics are those of what flows through that place; with γ = √(var + ε) and
β = mean it is the identity in evaluation mode: the network starts where it was, and trains as a
normalised one. Statistics are gathered in one pass, may come from several workers, and are merged
as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances", 1979: sums of squares are never subtracted, so nothing cancels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError, nearest

__all__ = [
    "Change",
    "LastBatchNorm",
    "Site",
    "StreamingMoments",
    "insert",
    "insert_batch_norm",
    "largest_change",
    "measure",
    "merge_sites",
]

_CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d)
_LAST_AXIS = (nn.Linear, nn.LayerNorm)


class StreamingMoments:
    """Mean and variance of each channel over rows that come in batches, in float64.

    Attributes:
        count: rows seen.
        mean: float64 [num_channels].
        squares: sum of squared distances from the mean, float64 [num_channels].
    """

    def __init__(self, num_channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(num_channels)
        self.squares = np.zeros(num_channels)

    @property
    def variance(self) -> np.ndarray:
        """Of the rows seen, divided by their number (NumPy's `var`), float64 [num_channels]."""
        return self.squares / max(self.count, 1)

    def update(self, batch: Tensor) -> None:
        """Adds rows, [n, num_channels]; raises ValueError for another number of channels."""
        if batch.dim() != 2 or batch.shape[1] != len(self.mean):
            raise ValueError(f"rows of shape {tuple(batch.shape)} for {len(self.mean)} channels")
        if len(batch):
            rows = batch.detach().double()
            mean = rows.mean(0)  # [num_channels]
            squares = (rows - mean).square_().sum(0)  # Σ_n (x - mean)², [num_channels]
            self._add(len(batch), mean.cpu().numpy(), squares.cpu().numpy())

    def merge(self, other: StreamingMoments) -> None:
        """Adds the rows that another one saw."""
        self._add(other.count, other.mean, other.squares)

    def into(self, layer: Any) -> None:
        """Makes a batch normalisation the identity on rows like these, in evaluation mode."""
        # y = γ·(x - mean) / √(var + ε) + β is x for γ = √(var + ε), β = mean. The scale undoes what
        # the layer does with its rounded variance, not with the exact one.
        mean, variance = (torch.from_numpy(v).float() for v in (self.mean, self.variance))
        state = {
            "running_mean": mean,
            "running_var": variance,
            "weight": (variance.double() + layer.eps).sqrt(),
            "bias": mean,
            "num_batches_tracked": torch.zeros((), dtype=torch.long),
        }
        layer.load_state_dict(state)

    def _add(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        # Chan, Golub and LeVeque, 1979, for parts A and B with δ = mean_B - mean_A:
        # mean = mean_A + δ·n_B / n;  squares = squares_A + squares_B + δ²·n_A·n_B / n.
        total = self.count + count
        if not total:
            return
        away = mean - self.mean  # δ, [num_channels]
        self.mean = self.mean + away * (count / total)
        self.squares = self.squares + squares + away**2 * (self.count * (count / total))
        self.count = total


@dataclass(frozen=True)
class Site:
    """What flows through the place after a layer.

    Attributes:
        axis: the channels' axis there: 1, or -1 for the last.
        num_dims: the axes of what the layer gives, the batch's included.
        moments: of each channel, over the batch and all other axes.
    """

    axis: int
    num_dims: int
    moments: StreamingMoments


class LastBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis, whatever is in front of it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises values of any shape that ends with the channels."""
        return super().forward(input.reshape(-1, input.shape[-1])).view_as(input)


def measure(network: nn.Module, names: Sequence[str], batches: Iterable[Any]) -> dict[str, Site]:
    """Measures what layers of a network give, in one pass and in evaluation mode.

    Args:
        network: left as it is.
        names: of layers, as `named_modules` has them.
        batches: inputs of the network; a tuple is passed as several arguments.

    Raises:
        UserError: no such layer, it gives no tensor with channels, or there are no batches.
    """
    layers = {name: _find(network, name) for name in names}
    sites: dict[str, Site] = {}
    hooks = [
        layer.register_forward_hook(
            lambda layer, _, output, name=name: _watch(sites, name, layer, output)
        )
        for name, layer in layers.items()
    ]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(*batch) if isinstance(batch, tuple) else network(batch)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
    for name in names:
        if name not in sites:
            raise UserError(f"nothing went through the layer '{name}'; give it data, or another")
    return sites


def merge_sites(parts: Iterable[Mapping[str, Site]]) -> dict[str, Site]:
    """What several workers measured on their shares of the rows, as if one had seen all."""
    merged: dict[str, Site] = {}
    for part in parts:
        for name, site in part.items():
            if name not in merged:
                empty = StreamingMoments(len(site.moments.mean))
                merged[name] = Site(site.axis, site.num_dims, empty)
            merged[name].moments.merge(site.moments)
    return merged


def insert(network: nn.Module, sites: Mapping[str, Site], eps: float = 1e-5) -> nn.Module:
    """A copy of the network with batch normalisation after each measured layer.

    A layer `x` becomes `x.0`, its normalisation is `x.1`; a layer that has several names stays one.

    Args:
        network: left as it is.
        sites: what `measure` returned, by layer.
        eps: added to each variance, so that a constant channel divides by no zero.
    """
    network = copy.deepcopy(network)
    for name, site in sites.items():
        layer = _find(network, name)
        pair = nn.Sequential(layer, _normalisation(site, eps).to(_device(network)))
        pair.train(network.training)
        names = [n for n, m in network.named_modules(remove_duplicate=False) if m is layer]
        for each in names:
            parent, _, child = each.rpartition(".")
            setattr(network.get_submodule(parent), child, pair)
    return network


def insert_batch_norm(
    network: nn.Module, names: Sequence[str], batches: Iterable[Any], eps: float = 1e-5
) -> nn.Module:
    """`measure` and `insert` in one call."""
    return insert(network, measure(network, names, batches), eps)


@dataclass(frozen=True)
class Change:
    """How far two networks' outputs are apart.

    Attributes:
        largest: the largest difference of any output.
        spread: standard deviation of all outputs of the first network.
    """

    largest: float
    spread: float

    @property
    def relative(self) -> float:
        """The largest difference as a share of the spread."""
        return self.largest / self.spread if self.spread else float(self.largest > 0)


@torch.no_grad()
def largest_change(before: nn.Module, after: nn.Module, batches: Iterable[Tensor]) -> Change:
    """Compares what two networks give, in evaluation mode; batches as in `measure`."""
    modes = before.training, after.training
    before.eval()
    after.eval()
    largest, outputs = 0.0, StreamingMoments(1)
    for batch in batches:
        one, other = before(batch), after(batch)
        largest = max(largest, float((one.double() - other.double()).abs().max()))
        outputs.update(one.reshape(-1, 1))
    before.train(modes[0])
    after.train(modes[1])
    return Change(largest, float(np.sqrt(outputs.variance[0])))


def _find(network: nn.Module, name: str) -> nn.Module:
    known = dict(network.named_modules(remove_duplicate=False))
    if not name or name not in known:
        raise UserError(f"the network has no layer '{name}'{nearest(name, filter(None, known))}")
    return known[name]


def _watch(sites: dict[str, Site], name: str, layer: nn.Module, output: Any) -> None:
    if not isinstance(output, Tensor) or output.dim() < 2 or not output.is_floating_point():
        raise UserError(f"the layer '{name}' gives no tensor with channels; name another one")
    axis = _channel_axis(layer, output)
    channels = output.shape[axis]
    site = sites.setdefault(name, Site(axis, output.dim(), StreamingMoments(channels)))
    if len(site.moments.mean) != channels or site.num_dims != output.dim():
        raise UserError(
            f"the layer '{name}' is used in several places with different shapes; name a layer "
            "that is used once"
        )
    # [n, channels, …] or [n, …, channels] -> [n · …, channels]
    site.moments.update(output.movedim(axis, -1).reshape(-1, channels))


def _channel_axis(layer: nn.Module, output: Tensor) -> int:
    """Second for images and for convolutions; last for a dense layer's or a sequence's values."""
    if isinstance(layer, _LAST_AXIS) and output.dim() > 2:
        return -1
    return -1 if output.dim() == 3 and not isinstance(layer, _CONVOLUTIONS) else 1


def _normalisation(site: Site, eps: float) -> nn.Module:
    moments = site.moments
    if not np.isfinite(moments.squares).all():
        raise UserError("a layer's values are not finite; the network or its data are broken")
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    kind = LastBatchNorm if site.axis == -1 else kinds[site.num_dims]
    layer = kind(len(moments.mean), eps=eps)
    moments.into(layer)
    return layer


def _device(network: nn.Module) -> torch.device:
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device
