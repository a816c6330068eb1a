"""The fields of sentiment models, and of the texts that they learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError
from raysweep.trainables.optim import TrainingConfig

__all__ = ["SentimentConfig", "SentimentData", "parse_embedding_phases"]

_MAX_EPOCHS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SentimentData(Config):
    """Which texts, and how they are read and split."""

    dataset: str = option(
        "imdb", "imdb, or a folder (one folder a class), .csv, .tsv, .jsonl, .parquet of yours"
    )
    data_dir: str | None = option(None, "folder with your copy of the dataset and of the vectors")
    text_column: str = option("", "the text's column in a file of your own; found by default")
    label_column: str = option("", "the class's column; found by default")
    vocabulary_size: int = option(5000, "ids, those of padding and rare words included", low=3)
    length: int = option(500, "words of a text that are kept, from its end", low=1)
    validation: float = option(
        0.1, "share of the training texts held out for validation", low=0.01, high=0.5
    )
    split: str = option(
        "auto",
        "validation set: random texts, or films: of other films than the training reviews are; "
        "auto: films for imdb, else random",
        choices=("auto", "random", "films"),
    )
    split_seed: int = option(0, "seed of the split", low=0)
    vectors: str = option(
        "", "word vectors for embedding_source=glove: glove.6B, or a file of yours; none by default"
    )
    vectors_size: int | None = option(
        None, "numbers in a word vector, where the source has several sizes", low=1
    )
    ngrams: int = option(
        0, "words of the longest n-grams that are counted, for the field ngrams", low=0, high=8
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SentimentConfig(TrainingConfig):
    """Fields of sentiment models. Those of the other architectures are ignored.

    `num_filters` holds one number for all widths, or one each. L2 is λ·Σw², once a batch, over the
    whole embedding table (`embedding_l2`) and over the weights of all other layers, biases left
    out (`dense_l2`).
    """

    architecture: str = option(
        "cnn", "what reads the words: dense, cnn or lstm", choices=("dense", "cnn", "lstm")
    )
    embedding_size: int | None = option(
        None, "numbers a word; none: 32, or the vectors' own with glove", low=1, high=4096
    )
    embedding_source: str = option(
        "random", "first values of the embedding", choices=("random", "glove")
    )
    embedding_phases: str = option(
        "", "epochs with a frozen or trainable embedding, e.g. 2xfrozen,1xtrainable; none: trained"
    )
    filter_widths: tuple[int, ...] = option((5,), "words that each filter sees", low=1, high=50)
    num_filters: tuple[int, ...] = option((64,), "filters of each width", low=1, high=8192)
    pooling: int = option(2, "places that are pooled to their maximum; 0: the whole text", low=0)
    places: str = option(
        "each",
        "what the dense layers see of a pooled text: each place, or the mean of all",
        choices=("each", "mean"),
    )
    lstm_size: int = option(100, "units of the LSTM", low=1, high=8192)
    hidden_size: int = option(100, "units of the dense layer; 0: none", low=0, high=65536)
    ngrams: int = option(
        0,
        "words of the longest n-grams that a linear model beside the network looks at, of those "
        "that --data ngrams counts; 0: no such model",
        low=0,
        high=8,
    )
    word_dropout: float = option(0.2, "share of words dropped", low=0.0, high=0.95)
    embedding_dropout: float = option(
        0.2, "share of the embedded words' elements dropped", low=0.0, high=0.95
    )
    channel_dropout: float = option(
        0.0, "share of the embedding's channels dropped, for a whole text", low=0.0, high=0.95
    )
    conv_dropout: float = option(0.2, "share dropped after the convolution", low=0.0, high=0.95)
    pool_dropout: float = option(0.0, "share dropped after the pooling", low=0.0, high=0.95)
    dense_dropout: float = option(
        0.7, "share of units dropped before the output layer", low=0.0, high=0.95
    )
    embedding_l2: float = option(0.0, "λ of λ·Σw² on the embedding", low=0.0)
    dense_l2: float = option(0.0, "λ of λ·Σw² on all other layers' weights", low=0.0)
    precision: str = option(
        "auto",
        "of activations; weights are float32. auto: bfloat16 where the processor is built for it",
        choices=("auto", "float32", "bfloat16"),
    )
    epochs: int = option(4, "passes over the training set", low=1)
    batch_size: int = option(64, "texts a step", low=1)
    learning_rate: float = option(1e-3, "step size at its highest", low=1e-7, high=10.0)

    def check(self) -> None:
        """Refuses filters and phases that do not fit together."""
        TrainingConfig.check(self)
        widths = self.filter_widths
        if not widths or len(set(widths)) < len(widths):
            raise UserError(
                f"filter_widths={','.join(map(str, widths))}: give one width or more, each once, "
                "e.g. filter_widths=3,4,5"
            )
        if len(self.num_filters) not in (1, len(widths)):
            raise UserError(
                f"num_filters has {len(self.num_filters)} numbers for {len(widths)} "
                "filter_widths; give one, or one for each width"
            )
        each = self.num_filters * (len(widths) // len(self.num_filters))
        object.__setattr__(self, "num_filters", each)
        if self.embedding_phases:
            phases = parse_embedding_phases(self.embedding_phases)
            if self.embedding_source == "random" and not any(trained for _, trained in phases):
                raise UserError(
                    f"embedding_phases={self.embedding_phases} never trains an embedding that "
                    "starts at random; add a trainable phase, or set embedding_source=glove"
                )

    def search_ranges(self) -> Mapping[str, Any]:
        """As the whole table counts, once a batch, its L2 is on the scale of Keras's penalty."""
        ranges: dict[str, Any] = {
            "embedding_l2": (1e-8, 1e-3),
            "learning_rate": {"sgd": (1e-3, 0.3), "adam": (1e-4, 1e-2), "adagrad": (1e-3, 0.1)},
            "batch_size": [32, 64, 128, 256],
        }
        if self.architecture != "cnn":
            ranges |= {"conv_dropout": None, "pool_dropout": None}
        return ranges

    def embedding_trains(self, epoch: int) -> bool:
        """Whether the embedding is trained in an epoch, from 1; the last phase goes on."""
        phases = parse_embedding_phases(self.embedding_phases)
        each = [trained for count, trained in phases for _ in range(count)] or [True]
        return each[min(epoch, len(each)) - 1]


def parse_embedding_phases(text: str) -> list[tuple[int, bool]]:
    """Parses `2xfrozen,1xtrainable` to [(2, False), (1, True)]: epochs, and whether it trains."""
    phases = []
    for part in text.split(",") if text else ():
        count, _, kind = part.strip().partition("x")
        if (
            not count.isdecimal()
            or not 1 <= int(count) < _MAX_EPOCHS
            or kind not in ("frozen", "trainable")
        ):
            raise UserError(
                f"embedding_phases={text!r}: {part.strip()!r} is not EPOCHSxfrozen or "
                "EPOCHSxtrainable such as 2xfrozen"
            )
        phases.append((int(count), kind == "trainable"))
    return phases
