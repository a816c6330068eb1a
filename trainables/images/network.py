"""The dense network on image features, and its layers that know of a batch in several processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raysweep.trainables.images.batchnorm import StreamingMoments
from raysweep.trainables.images.config import ImageHeadConfig
from raysweep.trainables.parallel import Slice, WholeBatchLayer

__all__ = ["HeadNet", "pool"]


def pool(features: Tensor, how: str) -> Tensor:
    """Feature maps [n, channels, ...] as rows [n, ...]: `flatten`, or `mean` or `max` of each."""
    rows = features.flatten(1)
    if how == "flatten" or features.dim() < 3:
        return rows
    maps = features.flatten(2).float()
    return maps.mean(2) if how == "mean" else maps.amax(2)


class BatchNorm(WholeBatchLayer, nn.BatchNorm1d):
    """Batch normalisation whose batch may be in several processes; one row alone trains too."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises rows [n, num_features]."""
        if not self.training:
            return super().forward(input)
        if self.parallel is None:
            if len(input) > 1:
                return super().forward(input)
            return self._with_running(input)
        total = self.parallel.slice.total
        return self._wide(input.float(), total) if total > 1 else self._with_running(input)

    def _with_running(self, rows: Tensor) -> Tensor:
        """One row has no spread; the statistics so far stand in."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return (rows - self.running_mean) * scale + self.bias

    def _wide(self, rows: Tensor, total: int) -> Tensor:
        """With the statistics of the whole batch; autograd goes through both sums."""
        assert self.parallel is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        mean = self.parallel.sum(rows.sum(0)) / total
        away = rows - mean
        variance = self.parallel.sum(away.square().sum(0)) / total
        with torch.no_grad():
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (total / (total - 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return away / (variance + self.eps).sqrt() * self.weight + self.bias


class Dropout(WholeBatchLayer, nn.Module):
    """Dropout that gives a row the same mask, whichever process it is in.

    Args:
        rate: share of the values dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, rows: Tensor) -> Tensor:
        """Drops values of [n, width], in training only."""
        if not self.training or not self.rate:
            return rows
        place = Slice() if self.parallel is None else self.parallel.slice
        total = len(rows) if place.rows is None else place.total
        kept = torch.empty(total, rows.shape[1], dtype=rows.dtype, device=rows.device)
        kept.bernoulli_(1 - self.rate)
        if place.rows is not None:
            kept = kept.index_select(0, place.rows)
        return rows * kept / (1 - self.rate)


class HeadNet(nn.Module):
    """Pooled features, and the image's size beside them, through dense layers to the classes.

    Args:
        config: layers and sites.
        shape: of one row's features.
        num_classes: outputs.
        sizes: heights and widths of the training images, float [n, 2], to standardise by.
    """

    size_mean: Tensor
    size_std: Tensor

    def __init__(
        self, config: ImageHeadConfig, shape: Sequence[int], num_classes: int, sizes: Tensor
    ) -> None:
        super().__init__()
        self.pooling, self.image_size = config.pooling, config.image_size
        width = shape[0] if config.pooling != "flatten" else int(torch.Size(shape).numel())
        self.input = _site(width, config.input_batchnorm, config.input_dropout)
        if config.image_size:
            self.register_buffer("size_mean", sizes.mean(0))
            self.register_buffer("size_std", sizes.std(0, unbiased=False).clamp(min=1.0))
            width += 2
        layers: list[nn.Module] = []
        normalised, rates = (config.of_layers(f"dense_{n}") for n in ("batchnorm", "dropout"))
        for units, norm, rate in zip(config.hidden_sizes, normalised, rates, strict=True):
            layers += [nn.Linear(width, units), nn.ReLU(), *_site(units, bool(norm), rate)]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(width, num_classes)

    def dense_layers(self) -> list[nn.Linear]:
        """All dense layers, in order, the classes' own last."""
        return [m for m in (*self.hidden, self.output) if isinstance(m, nn.Linear)]

    def forward(self, features: Tensor, sizes: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            features: [n, *shape], or rows that are pooled already.
            sizes: heights and widths in pixels, float32 [n, 2].

        Returns:
            float32 [n, num_classes].
        """
        return self.output(self.last_hidden(features, sizes)).float()

    def last_hidden(self, features: Tensor, sizes: Tensor) -> Tensor:
        """What the classes' own layer sees, float [n, width]; arguments as in `forward`."""
        rows = self.input(pool(features, self.pooling).float())
        if self.image_size:
            standard = (sizes - self.size_mean) / self.size_std
            rows = torch.cat([rows, standard.to(rows.dtype)], 1)
        hidden: Tensor = self.hidden(rows)
        return hidden

    @torch.no_grad()
    def settle(self, features: Tensor, sizes: Tensor) -> None:
        """Makes every batch normalisation the identity on rows like these (see `batchnorm`)."""
        rows = pool(features, self.pooling).float()
        rows = _settle(self.input, rows)
        if self.image_size:
            rows = torch.cat([rows, (sizes - self.size_mean) / self.size_std], 1)
        _settle(self.hidden, rows)


def _site(width: int, batchnorm: bool, rate: float) -> nn.Sequential:
    layers = [BatchNorm(width)] if batchnorm else []
    return nn.Sequential(*layers, *([Dropout(rate)] if rate else []))


def _settle(layers: nn.Sequential, rows: Tensor) -> Tensor:
    for layer in layers:
        if isinstance(layer, BatchNorm):
            moments = StreamingMoments(rows.shape[1])
            moments.update(rows)
            moments.into(layer)
        elif not isinstance(layer, Dropout):
            rows = layer(rows)
    return rows
