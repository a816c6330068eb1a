"""The networks that classify texts: dense, convolution and LSTM, on one embedding.

Shapes: n texts of `length` ids each, padded in front; d numbers a word. The dense network and the
LSTM work on [n, length, d]; the convolution on the r rows of a `RaggedBatch`, [r, d].
Filters over words, pooled: Kim, "Convolutional Neural Networks for Sentence Classification",
EMNLP 2014.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from raysweep.trainables.texts.config import SentimentConfig
from raysweep.trainables.texts.fast_layers import (
    conv_relu_pool,
    dropout,
    embed,
    keep_mask,
    kept_share,
    linear,
    mean_of_texts,
    pool_texts,
    rearrange,
)
from raysweep.trainables.texts.ngram_scores import NgramScores
from raysweep.trainables.texts.ragged import flatten, left_aligned

__all__ = ["INIT_SCALE", "SentimentNet", "build_network"]

INIT_SCALE = 0.05
"""Random first values of an embedding are uniform from its negative to it."""


class SentimentNet(nn.Module, ABC):
    """An embedding with its three dropouts, and what ends every network: dense layers.

    Args:
        config: sizes and rates.
        table: the embedding's first values, float32 [vocabulary size, dim]; row 0 is padding.
        num_features: what `features` gives for each text.
        num_classes: outputs.
        dtype: of activations: bfloat16 or float32. Weights are float32.
    """

    sums_words: ClassVar[bool] = False
    """Whether every word adds to what the first layer gives."""

    def __init__(
        self,
        config: SentimentConfig,
        table: Tensor,
        num_features: int,
        num_classes: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.config, self.dtype = config, dtype
        self.table = nn.Parameter(table)
        self.ngrams: NgramScores | None = None
        """A linear model beside the network, where there is one; `forward` does not ask it."""
        self.hidden: nn.Linear | None = None
        if config.hidden_size:
            # PyTorch's small first weights: with 16,000 inputs larger ones only add noise at first.
            self.hidden = nn.Linear(num_features, config.hidden_size)
            nn.init.zeros_(self.hidden.bias)
        self.output = nn.Linear(config.hidden_size or num_features, num_classes)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            ids: int16 or int32 [n, length], padded in front.
            lengths: words of each text, [n].

        Returns:
            float32 [n, num_classes].
        """
        values = self.features(ids, lengths)  # [n, num_features]
        if self.hidden is not None:
            values = linear(values, self.hidden.weight, self.hidden.bias).relu()  # [n, hidden_size]
        # The scores are summed in float32: cross-entropy takes the exponential of them.
        return self.output(self.dropped(values, self.config.dense_dropout).float())

    @abstractmethod
    def features(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """What the last layers see of each text, [n, num_features]."""

    def dropped(self, values: Tensor, rate: float) -> Tensor:
        """Dropout, in training only."""
        return dropout(values, rate) if self.training else values

    def look_up(self, ids: Tensor, texts: Tensor, num_texts: int) -> Tensor:
        """Embeds words; drops words, elements and channels in one pass.

        A dropped word looks like padding. What stays is divided by its share only where words are
        summed: filters and LSTMs would see larger words in training than ever after, and the
        maximum of a pooling does not average that out.

        Args:
            ids: int64 [m], 0 where there is no word.
            texts: the text of each, below or equal to `num_texts`, [m].
            num_texts: texts in the batch.

        Returns:
            [m, embedding size].
        """
        config, dim, mask, scale = self.config, self.table.shape[1], None, 1.0
        if self.training and config.word_dropout:
            if self.sums_words:
                scale /= kept_share(config.word_dropout)
            kept = keep_mask(ids.shape, config.word_dropout, self.dtype, ids.device)  # [m]
            ids = ids & kept  # -1 keeps an id, 0 makes it padding
        if self.training and config.embedding_dropout:
            scale /= kept_share(config.embedding_dropout)
            shape = (len(ids), dim)
            mask = keep_mask(shape, config.embedding_dropout, self.dtype, ids.device)  # [m, d]
        if self.training and config.channel_dropout:
            scale /= kept_share(config.channel_dropout)
            shape = (num_texts + 1, dim)  # one row a text, the last one for gaps
            kept = keep_mask(shape, config.channel_dropout, self.dtype, ids.device)
            kept = kept.index_select(0, texts)  # the text's row for each of its words, [m, d]
            mask = kept if mask is None else mask & kept
        return embed(self.table, ids, mask, scale, self.dtype)


class _Dense(SentimentNet):
    sums_words = True

    def features(self, ids: Tensor, lengths: Tensor) -> Tensor:
        count, length = ids.shape
        texts = torch.arange(count, device=ids.device).repeat_interleave(length)  # [n · length]
        rows = self.look_up(ids.reshape(-1).long(), texts, count)  # [n · length, d]
        return rows.view(count, -1)  # [n, length · d]


class _Convolution(SentimentNet):
    """Filters of several widths as one product: narrow ones have zeros at their ends."""

    def __init__(
        self,
        config: SentimentConfig,
        table: Tensor,
        length: int,
        num_classes: int,
        dtype: torch.dtype,
    ) -> None:
        whole = not config.pooling or config.places == "mean"
        windows = 1 if whole else -(-length // config.pooling)
        super().__init__(config, table, sum(config.num_filters) * windows, num_classes, dtype)
        self.width = max(config.filter_widths)
        self.filters = nn.ParameterList()
        self.biases = nn.ParameterList()
        scale = _first_scale(config, table)
        for width, number in zip(config.filter_widths, config.num_filters, strict=True):
            filters = torch.empty(number, width, table.shape[1])
            # Glorot and Bengio, AISTATS 2010: √(6 / (inputs + outputs)), a filter having width · d
            # inputs and each word width · number outputs.
            bound = scale * (6.0 / (width * (table.shape[1] + number))) ** 0.5
            self.filters.append(nn.Parameter(filters.uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.zeros(number)))

    def weight(self) -> Tensor:
        """All filters, [num_filters in all, widest, embedding size]."""
        parts = []
        for filters in self.filters:
            # [number, width, d] -> [number, widest, d], so that all have the same middle word.
            before = (self.width - 1) // 2 - (filters.shape[1] - 1) // 2
            after = self.width - filters.shape[1] - before
            parts.append(nn.functional.pad(filters, (0, 0, before, after)))
        return torch.cat(parts)

    def features(self, ids: Tensor, lengths: Tensor) -> Tensor:
        config, count = self.config, len(ids)
        ragged = flatten(ids, lengths, self.width, config.pooling or 1)
        rows = conv_relu_pool(  # [r / pooling, filters]
            self.look_up(ragged.ids, ragged.texts, count),  # [r + widest - 1, d]
            self.weight(),
            torch.cat(list(self.biases)),
            ragged.gaps,
            config.pooling or 1,
            config.conv_dropout if self.training else 0.0,
        )
        if not config.pooling or config.places == "mean":
            over = mean_of_texts if config.pooling else pool_texts
            rows = over(rows, ragged.starts, ragged.counts)  # [n, filters]
            return self.dropped(rows, config.pool_dropout)
        rows = self.dropped(rows, config.pool_dropout)
        # [n · windows, filters] -> [n, windows · filters]
        return rearrange(rows, ragged.spread, ragged.gathered).view(count, -1)


class _Lstm(SentimentNet):
    """The state after the last word; texts are moved to the front, so that padding comes after."""

    def __init__(
        self, config: SentimentConfig, table: Tensor, num_classes: int, dtype: torch.dtype
    ) -> None:
        super().__init__(config, table, config.lstm_size, num_classes, dtype)
        self.lstm = nn.LSTM(table.shape[1], config.lstm_size, batch_first=True)
        size = config.lstm_size
        # [4 · size, d], [4 · size, size], [4 · size] twice: input, forget, cell and output gates.
        of_words, of_states, bias, other_bias = self.lstm.all_weights[0]
        with torch.no_grad():
            nn.init.xavier_uniform_(of_words, gain=_first_scale(config, table))
            for gate in of_states.split(size):
                nn.init.orthogonal_(gate)
            bias.zero_()
            other_bias.zero_()
            # Remembering is where a state starts: Jozefowicz et al., ICML 2015.
            bias[size : 2 * size] = 1.0

    def features(self, ids: Tensor, lengths: Tensor) -> Tensor:
        words = left_aligned(ids, lengths)  # [n, longest]
        count, length = words.shape
        texts = torch.arange(count, device=ids.device).repeat_interleave(length)
        rows = self.look_up(words.reshape(-1), texts, count).view(count, length, -1)
        fast = self.dtype == torch.bfloat16
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=fast):
            states, _ = self.lstm(rows)  # [n, longest, d] -> [n, longest, lstm_size]
        last = (lengths.long() - 1).view(count, 1, 1).expand(-1, 1, states.shape[2])
        return states.gather(1, last)[:, 0].to(self.dtype)


def _first_scale(config: SentimentConfig, table: Tensor) -> float:
    """What the first weights on words are multiplied by: random vectors' deviation by the table's.

    GloVe's vectors are eight times as large as random ones. With the same weights on them filters
    give large noise, and learning starts late or not at all (docs/sentiment.md).
    """
    spread = float(table.std())
    if config.embedding_source == "random" or not spread:
        return 1.0
    return INIT_SCALE / 3**0.5 / spread  # a uniform distribution from -a to a deviates by a / √3


def build_network(
    config: SentimentConfig, table: Tensor, length: int, num_classes: int, dtype: torch.dtype
) -> SentimentNet:
    """The network that the configuration describes.

    Args:
        config: sizes and rates.
        table: the embedding's first values, float32 [vocabulary size, dim].
        length: words of a text, padding included.
        num_classes: classes to tell apart.
        dtype: of activations.
    """
    if config.architecture == "dense":
        return _Dense(config, table, length * table.shape[1], num_classes, dtype)
    if config.architecture == "lstm":
        return _Lstm(config, table, num_classes, dtype)
    return _Convolution(config, table, length, num_classes, dtype)
