"""Sentiment: classes of texts, by a dense network, a convolution or an LSTM on embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.data.texts.ngrams import NgramIndex
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.learner import Learner
from raysweep.trainables.texts.config import SentimentConfig, SentimentData
from raysweep.trainables.texts.fast_layers import fast_dtype
from raysweep.trainables.texts.network import INIT_SCALE, SentimentNet, build_network
from raysweep.trainables.texts.ngram_scores import NgramScores, log_ratios

if TYPE_CHECKING:
    from raysweep.data.texts.encoded import TextData, TextSet

__all__ = ["Sentiment", "first_embedding"]

_EVALUATE_AT_ONCE = 512
_DEFAULT_SIZE = 32
_NO_VECTORS = (
    "embedding_source=glove needs word vectors, and the data have none; add --data vectors=glove.6B"
)
_NO_NGRAMS = "ngrams={} needs the texts' n-grams, and the data have {}; add --data ngrams={}"
# Batches of texts of like length, for what takes time with the longest: drawn from as many batches.
_BATCHES_SORTED = 16


class Sentiment(Learner[SentimentConfig]):
    """Texts of two or more classes."""

    name: ClassVar[str] = "sentiment"
    summary: ClassVar[str] = "texts: dense, convolution or LSTM on word embeddings"
    config_class = SentimentConfig
    data_class: ClassVar[type[Config]] = SentimentData
    metrics: ClassVar[Mapping[str, str]] = {"val_accuracy": "max", "val_loss": "min"}
    splits: ClassVar[str] = "rows"
    predictor: ClassVar[str] = "texts"
    packed_fields: ClassVar[frozenset[str]] = frozenset(
        {"word_dropout", "embedding_dropout", "channel_dropout", "conv_dropout", "pool_dropout"}
        | {"dense_dropout", "embedding_l2", "dense_l2", "learning_rate"}
    )

    model: SentimentNet

    @classmethod
    def load_data(cls, config: SentimentData) -> Dataset:
        """Reads, encodes and splits the texts; looks word vectors up where there are some."""
        texts = _load_texts(config)
        arrays = {
            "num_classes": texts.num_classes,
            "vocabulary_size": texts.vocabulary.size,
            **_columns("train", texts.train),
            **_columns("val", texts.validation),
        }
        test = _columns("test", texts.test)
        fingerprint, description = texts.fingerprint(), texts.description
        if config.ngrams:
            _add_ngrams(arrays, test, config.ngrams)
            fingerprint += f"-ngrams{config.ngrams}"
            description += f"; {len(arrays['ngram_keys']):,} n-grams"
        if config.vectors:
            from raysweep.data.sources.fetch import dataset_path
            from raysweep.data.words.glove import load, vocabulary_vectors

            vectors = vocabulary_vectors(
                load(dataset_path(config.vectors, config.data_dir), dim=config.vectors_size),
                texts.vocabulary,
            )
            arrays["vectors"] = vectors.matrix
            fingerprint += "-" + vectors.fingerprint()
            description += f"; vectors for {vectors.share_of_text:.1%} of the words in the texts"
        # Two people may write the same few words.
        return Dataset(arrays, test, texts, fingerprint, description, duplicates=True)

    @classmethod
    def check(cls, config: Any, data: Any) -> None:
        """Refuses embedding_source=glove where the data name no vectors, and n-grams like that."""
        if config.embedding_source == "glove" and not data.vectors:
            raise UserError(_NO_VECTORS)
        if config.ngrams > data.ngrams:
            has = f"those of up to {data.ngrams} words" if data.ngrams else "none"
            raise UserError(_NO_NGRAMS.format(config.ngrams, has, config.ngrams))

    def build_model(self) -> nn.Module:
        """The network; see `first_embedding` for what is refused."""
        precision = self.config.precision
        dtype = fast_dtype(self.device) if precision == "auto" else getattr(torch, precision)
        network = build_network(
            self.config,
            first_embedding(self.config, self.data),
            self.data["train_ids"].shape[1],
            self.data["num_classes"],
            dtype,
        )
        if self.config.ngrams:
            network.ngrams = NgramScores(self._ngram_ratios())
        return network

    def _ngram_ratios(self) -> Tensor:
        ends, wanted = self.data.get("ngram_ends", ()), self.config.ngrams
        if wanted >= len(ends):
            raise UserError(_NO_NGRAMS.format(wanted, "fewer", wanted))
        data = self.data
        return log_ratios(
            data["train_ngrams"], data["train_labels"], data["num_classes"], int(ends[wanted]) + 1
        )

    def on_epoch_start(self, epoch: int) -> None:
        """Freezes the embedding, or lets it train."""
        self.model.table.requires_grad_(self.config.embedding_trains(epoch))

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """embedding_l2 on the table, dense_l2 on all other weights."""
        config, model = self.config, self.model
        penalties: list[tuple[Tensor, Tensor | float]] = []
        if config.embedding_l2:
            penalties.append((model.table, config.embedding_l2))
        if config.dense_l2:
            weights = [p for p in model.parameters() if p.dim() > 1 and p is not model.table]
            penalties += [(weight, config.dense_l2) for weight in weights]
        return penalties

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        """(ids, lengths, labels) of texts in an order drawn by `generator`, and their n-grams."""
        labels = self.data["train_labels"]
        order = torch.randperm(len(labels), generator=generator)
        rows = order.split(self.config.batch_size)
        if self.config.architecture == "lstm":
            rows = self._of_like_length(order, generator)
        names = ["train_ids", "train_lengths", "train_labels"]
        if self.model.ngrams is not None:
            names.append("train_ngrams")
        for chosen in rows:
            chosen = chosen.to(self.device)
            yield tuple(self.data[name].index_select(0, chosen) for name in names)

    def _of_like_length(self, order: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Sorts by length within groups of 16 batches, then shuffles the batches."""
        lengths = self.data["train_lengths"].cpu()
        groups = order.split(self.config.batch_size * _BATCHES_SORTED)
        ordered = torch.cat([group[lengths[group].argsort(stable=True)] for group in groups])
        batches = ordered.split(self.config.batch_size)
        return tuple(batches[k] for k in torch.randperm(len(batches), generator=generator).tolist())

    def num_batches(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-len(self.data["train_labels"]) // self.config.batch_size)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Cross-entropy, in nats: the network's and, with n-grams, theirs added to it.

        Each learns by its own. On the loss of both together n-grams, which know the training texts
        by heart after an epoch, leave the network nothing to learn.
        """
        ids, lengths, labels, *ngrams = batch
        loss = nn.functional.cross_entropy(self.model(ids, lengths), labels)
        if self.model.ngrams is not None:
            loss = loss + nn.functional.cross_entropy(self.model.ngrams(*ngrams), labels)
        return loss

    def scores(self, ids: Tensor, lengths: Tensor, ngrams: Tensor | None = None) -> Tensor:
        """Scores of the classes: the network's, or the mean of its scores and the n-grams'.

        Args:
            ids: [n, length], padded in front.
            lengths: words of each text, [n].
            ngrams: of the texts, as `NgramIndex.encode` gives them; looked up if left out.

        Returns:
            float32 [n, num_classes].
        """
        scores = self._network_scores(ids, lengths)
        if self.model.ngrams is None:
            return scores
        if ngrams is None:
            keys, ends = (self.data[f"ngram_{name}"].cpu().numpy() for name in ("keys", "ends"))
            index = NgramIndex(keys, ends, self.data["vocabulary_size"])
            ngrams = self.tensor(index.encode(ids.cpu().numpy()))
        parts = ngrams.split(_EVALUATE_AT_ONCE)
        return (scores + torch.cat([self.model.ngrams(part) for part in parts])) / 2

    def _network_scores(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Texts of like length at a time."""
        order = lengths.argsort(stable=True)
        parts = [
            self.model(ids.index_select(0, rows), lengths.index_select(0, rows)).float()
            for rows in order.split(_EVALUATE_AT_ONCE)
        ]
        scores = torch.cat(parts)
        return torch.empty_like(scores).index_copy_(0, order, scores)

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Accuracy (a share) and cross-entropy in nats."""
        labels = data[f"{prefix}_labels"]
        texts = data[f"{prefix}_ids"], data[f"{prefix}_lengths"], data.get(f"{prefix}_ngrams")
        scores = self.scores(*texts)
        right = float((scores.argmax(1) == labels).double().mean())
        loss = float(nn.functional.cross_entropy(scores.double(), labels))
        return {f"{prefix}_accuracy": right, f"{prefix}_loss": loss}

    def embeddings(self, info: TextData) -> dict[str, Embedding]:
        """The words' vectors, with their number in training texts and the share in each class."""
        # The first row is padding's, the last one that of all rare words.
        vectors, by_class = self.model.table[1:-1], _counts(info)[:, 1:-1]
        counts = by_class.sum(0)
        columns = {"word": info.vocabulary.words, "count": counts.tolist()}
        # Of two classes one says all.
        for k in range(int(len(by_class) == 2), len(by_class)):
            shares = by_class[k] / counts.clip(min=1)
            columns[f"share in {info.class_names[k]}"] = [f"{share:.2f}" for share in shares]
        return {"words": Embedding.ranked(vectors, counts, columns)}


def _counts(texts: TextData) -> np.ndarray:
    """How often the training texts of each class have each id, int [num_classes, ids]."""
    ids, labels, size = texts.train.ids, texts.train.labels, texts.vocabulary.size
    classes = range(texts.num_classes)
    return np.stack([np.bincount(ids[labels == k].ravel(), minlength=size) for k in classes])


def first_embedding(config: SentimentConfig, data: Mapping[str, Any]) -> Tensor:
    """The embedding before training, float32 [vocabulary size, dim]; padding's row is 0.

    Word vectors of another size than `embedding_size` are turned to their principal axes and cut
    (which keeps as much of the distances as can be kept), or get random numbers besides.

    Raises:
        UserError: word vectors are asked for, and the data have none.
    """
    size = data["vocabulary_size"]
    if config.embedding_source == "random":
        dim = config.embedding_size or _DEFAULT_SIZE
        table = torch.empty(size, dim).uniform_(-INIT_SCALE, INIT_SCALE)
    else:
        if "vectors" not in data:
            raise UserError(_NO_VECTORS)
        table = data["vectors"].float().cpu().clone()
        dim = config.embedding_size or table.shape[1]
        if dim < table.shape[1]:
            axes = torch.linalg.eigh(table.T @ table)[1].flip(1)
            table = table @ axes[:, :dim]
        elif dim > table.shape[1]:
            spread = float(table.std())
            table = torch.cat([table, torch.randn(size, dim - table.shape[1]) * spread], 1)
    table[0] = 0.0
    return table.contiguous()


def _load_texts(config: SentimentData) -> TextData:
    from raysweep.data.sources.fetch import dataset_path

    common: dict[str, Any] = {
        "vocabulary_size": config.vocabulary_size,
        "length": config.length,
        "split_seed": config.split_seed,
    }
    path = dataset_path(config.dataset, config.data_dir)
    if config.dataset == "imdb":
        from raysweep.data.texts import imdb

        split = "films" if config.split == "auto" else config.split
        return imdb.load(path, validation=config.validation, split=split, **common)
    if config.split == "films":
        raise UserError(f"--split {config.split} is for --dataset imdb; leave it out")
    from raysweep.data.texts import own_texts as labelled_text

    held_out = config.validation
    return labelled_text.load(
        path,
        text_column=config.text_column,
        label_column=config.label_column,
        fractions=(0.9 * (1 - held_out), 0.9 * held_out, 0.1),
        **common,
    )


def _add_ngrams(arrays: dict[str, Any], test: dict[str, Any], longest: int) -> None:
    """Adds the n-grams of up to `longest` words that each text has, and how to find them."""
    index = NgramIndex.build(arrays["train_ids"], arrays["vocabulary_size"], longest)
    arrays |= {"ngram_keys": index.keys, "ngram_ends": index.ends}
    train, val = (index.encode(arrays[f"{name}_ids"]) for name in ("train", "val"))
    most = max(train.shape[1], val.shape[1])  # one width, so that both can be trained on
    for name, each in (("train", train), ("val", val)):
        arrays[f"{name}_ngrams"] = np.pad(each, ((0, 0), (most - each.shape[1], 0)))
    test["test_ngrams"] = index.encode(test["test_ids"])


def _columns(name: str, texts: TextSet) -> dict[str, Any]:
    return {
        f"{name}_ids": texts.ids,
        f"{name}_labels": texts.labels,
        f"{name}_lengths": texts.lengths,
    }
