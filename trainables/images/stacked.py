"""Image heads in a pack: the layers of `HeadNet` on stacked weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from raysweep.trainables.images.config import ImageHeadConfig
from raysweep.trainables.images.network import BatchNorm, HeadNet, pool
from raysweep.trainables.stacked import StackedModels

__all__ = ["head_losses"]


def head_losses(stacked: StackedModels, features: Tensor, sizes: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of every head on one batch, labels smoothed as each asks, [K]."""
    scores = _scores(stacked, features, sizes).log_softmax(2)
    right = scores.gather(2, labels.expand(len(stacked), -1)[:, :, None].long()).squeeze(2)
    smoothing = stacked.per_learner([c.label_smoothing for c in _configs(stacked)], 2)
    loss = -((1 - smoothing) * right + smoothing * scores.mean(2))
    return loss.sum(1) / max(len(labels), 1)


def _configs(stacked: StackedModels) -> list[ImageHeadConfig]:
    return [learner.config for learner in stacked.learners]


def _scores(stacked: StackedModels, features: Tensor, sizes: Tensor) -> Tensor:
    """Scores of the classes, float32 [K, n, classes]; see `HeadNet.forward`."""
    net, configs = stacked.models[0], _configs(stacked)
    assert isinstance(net, HeadNet)
    norms = (module for module in net.modules() if isinstance(module, BatchNorm))
    config = configs[0]
    rows = pool(features, net.pooling).float()
    rows = _site(stacked, rows, config.input_batchnorm, [c.input_dropout for c in configs], norms)
    if net.image_size:
        standard = ((sizes - net.size_mean) / net.size_std).to(rows.dtype)
        rows = torch.cat([rows, standard.expand(*rows.shape[:-1], -1)], -1)
    normalised = config.of_layers("dense_batchnorm")
    rates = [c.of_layers("dense_dropout") for c in configs]
    *hidden, output = net.dense_layers()
    for number, layer in enumerate(hidden):
        rows = stacked.linear(layer, rows).relu()
        site_rates = [of_layers[number] for of_layers in rates]
        rows = _site(stacked, rows, bool(normalised[number]), site_rates, norms)
    return stacked.linear(output, rows).float()


def _site(
    stacked: StackedModels,
    rows: Tensor,
    batchnorm: bool,
    rates: Sequence[float],
    norms: Iterator[BatchNorm],
) -> Tensor:
    """Normalisation and dropout of every head: rows [K, n, width], or [n, width] before both."""
    if batchnorm:
        rows = _normalise(stacked, next(norms), rows)
    return stacked.drop(rows, rates)


def _normalise(stacked: StackedModels, layer: BatchNorm, rows: Tensor) -> Tensor:
    """Batch normalisation of every head; rows that all share are normalised once for all."""
    mean, variance, weight, bias = (
        stacked.of(each)
        for each in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    if rows.shape[-2] == 1:
        scale = weight / torch.sqrt(variance + layer.eps)
        return (rows - mean[:, None]) * scale[:, None] + bias[:, None]
    stacked.of(layer.num_batches_tracked).add_(1)
    momentum = layer.momentum or 0.0
    if rows.dim() == 2:
        # The same rows in every epoch: each head's running statistics are those of the first.
        rows = nn.functional.batch_norm(
            rows, mean[0], variance[0], None, None, True, momentum, layer.eps
        )
        mean[1:], variance[1:] = mean[0], variance[0]
        return torch.addcmul(bias[:, None], rows, weight[:, None])
    wide = rows.transpose(0, 1).flatten(1)  # [n, K · width]: each column is normalised by itself
    own = (mean.flatten(), variance.flatten(), weight.flatten(), bias.flatten())
    wide = nn.functional.batch_norm(wide, *own, True, momentum, layer.eps)
    return wide.view(len(wide), len(stacked), -1).transpose(0, 1)
