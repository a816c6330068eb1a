"""Word vectors learned from plain text, by telling real words from random ones.

`task=corrupted`: a network reads a window of words and a copy of it whose middle word is replaced
at random, and tells which is which (Collobert and Weston, "A Unified Architecture for Natural
Language Processing", ICML 2008). `task=skip_gram`: the product of two words' vectors tells whether
they stood in one window (Mikolov et al., "Distributed Representations", NIPS 2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.learner import Learner
from raysweep.trainables.sequences.config import (
    WordsConfig,
    WordVectorsConfig,
    load_words,
    symbol_embedding,
)
from raysweep.trainables.stacked import Stackable, StackedModels

__all__ = ["Noise", "WordVectorsLearner"]

_EVALUATED_AT_ONCE = 8192
_EVALUATION_SEED = 20_161_103  # the same questions for every trial


class Noise:
    """Draws random words other than given ones, many at once.

    Args:
        counts: how often each id occurs, int [num_ids]; those that never do are never drawn.
        power: 0 draws all alike, 1 as frequent as they are.

    Raises:
        UserError: fewer than two ids occur.
    """

    def __init__(self, counts: Tensor, power: float) -> None:
        weights = torch.where(counts > 0, counts.double().clamp(min=1) ** power, 0.0)
        self.weights = weights / weights.sum()
        self.ends = self.weights.cumsum(0)
        # For each id the next one, in a ring, that can be drawn.
        present = torch.nonzero(self.weights)[:, 0]
        if len(present) < 2:
            raise UserError("the text has fewer than two different words; use a longer one")
        ids = torch.arange(len(self.weights), device=present.device)
        self._next = present[torch.searchsorted(present, ids, right=True) % len(present)]

    def draw(self, instead: Tensor, num: int, generator: torch.Generator) -> Tensor:
        """Ids int64 [n, num], those of row k distributed as all words but `instead[k]`, int [n].

        The word's own share of [0, 1) is cut out before a point of the rest is drawn, so that
        nothing need be drawn twice.
        """
        instead = instead.long()[:, None]
        own, end = self.weights[instead], self.ends[instead]
        points = torch.rand(len(instead), num, generator=generator, dtype=torch.float64)
        points = points.to(own.device) * (self.ends[-1] - own)
        points = torch.where(points >= end - own, points + own, points)
        drawn = torch.searchsorted(self.ends, points, right=True).clamp(max=len(self.ends) - 1)
        # Where rounding led back to the word itself, its neighbour by id takes its place.
        return torch.where(drawn == instead, self._next[drawn], drawn)


class _Windows(nn.Module):
    """Scores a window's middle word in its context: high for real ones."""

    def __init__(self, num_ids: int, config: WordVectorsConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_ids, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        size = config.embedding_size
        self.context = nn.Linear((config.window - 1) * size, config.hidden_size)
        self.middle = nn.Linear(size, config.hidden_size, bias=False)
        self.hidden_dropout = nn.Dropout(config.hidden_dropout)
        self.output = nn.Linear(config.hidden_size, 1)

    def forward(self, windows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of real [n, 1] and of corrupted windows [n, 1]: the context is computed once."""
        half = windows.shape[1] // 2
        vectors = self.embedding_dropout(self.embedding(windows))
        around = torch.cat([vectors[:, :half], vectors[:, half + 1 :]], 1).flatten(1)
        context = self.context(around)
        words = (vectors[:, half], self.embedding_dropout(self.embedding(noise[:, 0])))
        real, corrupted = (
            self.output(self.hidden_dropout(torch.relu(context + self.middle(word))))
            for word in words
        )
        return real, corrupted

    def stacked_forward(
        self, stacked: StackedModels, windows: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`forward` of every network of a pack, [K, n, 1] twice."""
        count, width = windows.shape
        configs = [learner.config for learner in stacked.learners]
        table, rates = stacked.of(self.embedding.weight), [c.embedding_dropout for c in configs]
        vectors = stacked.drop(stacked.embedding(table, windows.flatten()), rates)
        vectors = vectors.view(len(stacked), count, width, -1)
        half = width // 2
        around = torch.cat([vectors[:, :, :half], vectors[:, :, half + 1 :]], 2).flatten(2)
        context = stacked.linear(self.context, around)
        words = vectors[:, :, half], stacked.drop(stacked.embedding(table, noise[:, 0]), rates)
        hidden_rates = [c.hidden_dropout for c in configs]
        real, corrupted = (
            stacked.linear(
                self.output,
                stacked.drop(torch.relu(context + stacked.linear(self.middle, word)), hidden_rates),
            )
            for word in words
        )
        return real, corrupted


class _SkipGram(nn.Module):
    """Scores pairs of words: high for those that stand in one window."""

    def __init__(self, num_ids: int, config: WordVectorsConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_ids, config.embedding_size)
        self.context = nn.Embedding(num_ids, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.zeros_(self.context.weight)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)

    def forward(self, windows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the middle word with those around it, and with random ones that they share."""
        half = windows.shape[1] // 2
        middle = self.embedding_dropout(self.embedding(windows[:, half]))[:, :, None]
        around = torch.cat([windows[:, :half], windows[:, half + 1 :]], 1)
        return (self.context(around) @ middle).squeeze(2), (self.context(noise) @ middle).squeeze(2)

    def stacked_forward(
        self, stacked: StackedModels, windows: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`forward` of every network of a pack, [K, n, window - 1] and [K, n, negatives]."""
        half = windows.shape[1] // 2
        rates = [learner.config.embedding_dropout for learner in stacked.learners]
        table, contexts = stacked.of(self.embedding.weight), stacked.of(self.context.weight)
        middle = stacked.drop(stacked.embedding(table, windows[:, half]), rates)[..., None]

        def scores(ids: Tensor) -> Tensor:
            vectors = stacked.embedding(contexts, ids.flatten()).view(len(stacked), *ids.shape, -1)
            return (vectors @ middle).squeeze(3)

        around = torch.cat([windows[:, :half], windows[:, half + 1 :]], 1)
        return scores(around), scores(noise)


class WordVectorsLearner(Learner[WordVectorsConfig], Stackable):
    """Vectors of a text's words."""

    name: ClassVar[str] = "word_vectors"
    summary: ClassVar[str] = "text: word vectors, by corrupted windows or by skip-gram"
    config_class = WordVectorsConfig
    data_class: ClassVar[type[Config]] = WordsConfig
    metrics: ClassVar[Mapping[str, str]] = {"val_loss": "min", "val_accuracy": "max"}
    packed_fields: ClassVar[frozenset[str]] = frozenset(
        ("embedding_dropout", "hidden_dropout", "frequent", "learning_rate")
    )

    model: _Windows | _SkipGram

    @classmethod
    def load_data(cls, config: WordsConfig) -> Dataset:
        """Reads a text or the film reviews, as one row of ids."""
        text = load_words(config)
        return Dataset(
            arrays={"symbols": text.symbols, "train_ids": text.train, "val_ids": text.validation},
            test={"test_ids": text.test},
            info=text,
            fingerprint=text.fingerprint(),
            description=text.description,
        )

    def build_model(self) -> nn.Module:
        """The network of the task; sets up what random words are drawn from."""
        counts = torch.bincount(self.data["train_ids"].long(), minlength=self._num_ids)
        counts[0] = 0  # stands between texts
        self._noise = Noise(counts, self.config.noise_power)
        share = counts / counts.sum()
        self._weights = (self.config.frequent / share.clamp(min=1e-12)).sqrt().clamp(max=1.0)
        self._starts = self.starts(self.data["train_ids"])
        network = _Windows if self.config.task == "corrupted" else _SkipGram
        return network(self._num_ids, self.config)

    @property
    def _num_ids(self) -> int:
        return len(self.data["symbols"])

    def starts(self, ids: Tensor) -> Tensor:
        """Where windows start that lie within one text, int64 [m]; ids is int [n].

        Raises:
            UserError: every text is shorter than a window.
        """
        window = self.config.window
        gaps = torch.nn.functional.pad((ids == 0).long().cumsum(0), (1, 0))
        starts = torch.nonzero(gaps[window:] == gaps[: max(len(gaps) - window, 0)])[:, 0]
        if not len(starts):
            raise UserError(
                f"window={window} is longer than every text (of {len(ids)} words in all); use a "
                "shorter window or a longer text"
            )
        return starts

    def num_batches(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-len(self._starts) // self.config.batch_size)

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Every window once, shuffled, with random words: int64 [n, window] and [n, negatives]."""
        order = torch.randperm(len(self._starts), generator=generator).to(self.device)
        for part in order.split(self.config.batch_size):
            yield self.questions(self.data["train_ids"], self._starts[part], generator)

    def questions(
        self, ids: Tensor, starts: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The windows that start at `starts`, and random words for their middles."""
        window = self.config.window
        # Strided views of one row of ids: no window is copied before it is its turn.
        windows = ids.unfold(0, window, 1)[starts].long()
        num = 1 if self.config.task == "corrupted" else self.config.num_negatives
        return windows, self._noise.draw(windows[:, window // 2], num, generator)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy in nats: of the real, plus of the random words of a window."""
        windows, noise = batch
        weights = self._weights[windows[:, self.config.window // 2]]
        losses = self._losses(*self.model(windows, noise))
        return (losses * weights).sum() / weights.sum()

    def stacked_loss(self, stacked: StackedModels, batch: tuple[Tensor, Tensor]) -> Tensor:
        """`loss` of every network of a pack, [K]."""
        windows, noise = batch
        middle = windows[:, self.config.window // 2]
        weights = torch.stack([learner._weights[middle] for learner in stacked.learners])
        losses = self._losses(*self.model.stacked_forward(stacked, windows, noise))
        return (losses * weights).sum(1) / weights.sum(1)

    def _losses(self, real: Tensor, random: Tensor) -> Tensor:
        """Loss of each window; a logistic loss is softplus of the score towards the wrong side."""
        return softplus(-real.float()).mean(-1) + softplus(random.float()).sum(-1)

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Loss as in training, all windows alike; share of right decisions, chance being 0.5.

        With several random words to a real one, real ones are rarer and every score is lower by the
        logarithm of that number; decisions take real and random words to be as likely.
        """
        ids = data[f"{prefix}_ids"]
        starts = self.starts(ids)
        generator = torch.Generator().manual_seed(_EVALUATION_SEED)
        loss = right = 0.0
        num = 1 if self.config.task == "corrupted" else self.config.num_negatives
        even = -math.log(num)
        for part in starts.split(_EVALUATED_AT_ONCE):
            real, random = self.model(*self.questions(ids, part, generator))
            loss += float(self._losses(real, random).double().sum())
            decisions = (real > even).double().mean(1) + (random < even).double().mean(1)
            right += float(decisions.sum()) / 2
        return {f"{prefix}_loss": loss / len(starts), f"{prefix}_accuracy": right / len(starts)}

    def embeddings(self, info: Any) -> dict[str, Embedding]:
        """The words' vectors."""
        table, data = self.model.embedding.weight, self.data
        return symbol_embedding(table, data["symbols"], "words", data["train_ids"])
