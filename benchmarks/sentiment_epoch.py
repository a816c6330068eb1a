"""An epoch of the sentiment models beside the same network in plain PyTorch, one thread each.

    python -m benchmarks.sentiment_epoch cnn --data-dir ../shared/data --rounds 4
    python -m benchmarks.sentiment_epoch multi_width --data-dir ../shared/data --rounds 2
    python -m benchmarks.sentiment_epoch lstm --data-dir ../shared/data --rounds 2 --batches 40

The plain loop is what a tutorial shows: one module after another in float32, on arrays padded to
500 words, with `torch.optim.Adam`. Both train in turns, epoch by epoch, on the same texts; the
first epoch of each also carries what is done once. Times are of training alone; validation accuracy
after each epoch shows that both learn the same. The time of the processor is shown beside the
clock's: on a machine that others use, it is the fairer one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.epochs import Measured, rival
from benchmarks.harness import CONSOLE, pairwise, save, scratch, spread, verdict
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import seed_everything
from raysweep.trainables.texts.config import SentimentConfig
from raysweep.trainables.texts.sentiment import Sentiment, first_embedding
from raysweep.trainables.trainer import Trainer

# At most this part of the plain loop's time.
GOALS = {"cnn": 0.45, "multi_width": 0.55, "lstm": 0.7}
_FIELDS: dict[str, dict[str, Any]] = {
    "cnn": {},
    "lstm": {"architecture": "lstm"},
    "multi_width": {
        "embedding_source": "glove",
        "filter_widths": (3, 4, 5),
        "conv_dropout": 0.0,
        "pool_dropout": 0.5,
    },
}


class _Plain(nn.Module):
    """Module by module, as in a tutorial."""

    def __init__(self, config: SentimentConfig, table: Tensor, length: int) -> None:
        super().__init__()
        dim = table.shape[1]
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False)
        # Of [n, words, dim] this drops whole words.
        self.word_dropout = nn.Dropout1d(config.word_dropout)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(dim, number, width, padding="same"),
                nn.ReLU(),
                nn.Dropout(config.conv_dropout),
                nn.MaxPool1d(config.pooling),
                nn.Flatten(),
            )
            for width, number in zip(config.filter_widths, config.num_filters, strict=True)
        )
        self.head = nn.Sequential(
            nn.Dropout(config.pool_dropout),
            nn.Linear(sum(config.num_filters) * (length // config.pooling), config.hidden_size),
            nn.ReLU(),
            nn.Dropout(config.dense_dropout),
            nn.Linear(config.hidden_size, 2),
        )

    def forward(self, ids: Tensor) -> Tensor:
        values = self.embedding_dropout(self.word_dropout(self.embedding(ids))).transpose(1, 2)
        return self.head(torch.cat([branch(values) for branch in self.branches], 1))


class _PlainLstm(nn.Module):
    """The state after the last word, of texts that are padded in front, as in a tutorial."""

    def __init__(self, config: SentimentConfig, table: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False)
        self.word_dropout = nn.Dropout1d(config.word_dropout)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.lstm = nn.LSTM(table.shape[1], config.lstm_size, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(config.lstm_size, config.hidden_size),
            nn.ReLU(),
            nn.Dropout(config.dense_dropout),
            nn.Linear(config.hidden_size, 2),
        )

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding_dropout(self.word_dropout(self.embedding(ids))))
        return self.head(states[:, -1])


class PlainLoop:
    """The loop that a tutorial shows, epoch by epoch."""

    def __init__(
        self, config: SentimentConfig, arrays: dict[str, Any], table: Tensor, batches: int
    ) -> None:
        seed_everything(config.seed, 0)
        self.config, self.limit = config, batches
        self.data = {
            name: torch.from_numpy(arrays[name]).long()
            for name in ("train_ids", "train_labels", "val_ids", "val_labels")
        }
        length = arrays["train_ids"].shape[1]
        lstm = config.architecture == "lstm"
        self.model = _PlainLstm(config, table) if lstm else _Plain(config, table, length)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)

    def train(self) -> None:
        """An epoch."""
        torch.set_flush_denormal(False)  # PyTorch's default, which raysweep's epochs change
        self.model.train()
        order = torch.randperm(len(self.data["train_labels"])).split(self.config.batch_size)
        for rows in order[: self.limit or None]:
            scores = self.model(self.data["train_ids"][rows])
            loss = nn.functional.cross_entropy(scores, self.data["train_labels"][rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def accuracy(self) -> float:
        """On the validation texts."""
        self.model.eval()
        with torch.inference_mode():
            parts = [self.model(ids).argmax(1) for ids in self.data["val_ids"].split(64)]
        return float((torch.cat(parts) == self.data["val_labels"]).double().mean())


class _Ours:
    def __init__(self, config: SentimentConfig, arrays: dict[str, Any], batches: int) -> None:
        self.learner, self.limit = Sentiment(config, arrays), batches
        self.trainer = Trainer(self.learner)
        if batches:
            every = self.learner.batches
            self.learner.num_batches = lambda: batches  # type: ignore[method-assign]
            self.learner.batches = lambda generator: (  # type: ignore[method-assign]
                batch for batch, _ in zip(every(generator), range(batches), strict=False)
            )

    def train(self) -> None:
        self.learner.epoch += 1
        generator = seed_everything(self.learner.config.seed, self.learner.epoch)
        self.learner.on_epoch_start(self.learner.epoch)
        self.trainer.train_epoch(generator)

    def accuracy(self) -> float:
        return self.learner.validate()["val_accuracy"]


def _tensor(value: Any) -> Any:
    return value if isinstance(value, int) else torch.from_numpy(value)


def _timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - processor, result


def problem(model: str, data_dir: str | None) -> tuple[SentimentConfig, Dataset, Tensor]:
    """A network of `GOALS`, its texts, and the first values of its embedding."""
    torch.set_num_threads(1)
    config = SentimentConfig.create({"schedule": "constant", **_FIELDS[model]})
    vectors = "glove.6B" if config.embedding_source == "glove" else ""
    dataset = Sentiment.load_data(
        Sentiment.data_class.create({"data_dir": data_dir, "vectors": vectors})
    )
    CONSOLE.print(dataset.description)
    arrays = dataset.arrays
    known = {k: _tensor(arrays[k]) for k in ("vocabulary_size", "vectors") if k in arrays}
    return config, dataset, first_embedding(config, known)


def beside_keras(model: str, data_dir: str | None, rounds: int, batches: int) -> Measured:
    """Ours beside Keras 3 on PyTorch, after an epoch of each that is not measured."""
    config, dataset, table = problem(model, data_dir)
    arrays = dict(dataset.arrays)
    names = ("train_ids", "train_labels", "val_ids", "val_labels")
    with scratch() as folder:
        np.savez(folder / "texts.npz", table=table.numpy(), **{k: arrays[k] for k in names})
        (folder / "fields.json").write_text(json.dumps(config.to_dict()))
        found = rival("keras_text", folder, rounds, batches)
    ours = _Ours(config, arrays, batches)
    seconds = [_timed(ours.train)[1] for _ in range(rounds + 1)][1:]
    return Measured(seconds, found["seconds"], ours.accuracy(), found["metric"])


def compare(model: str, data_dir: str | None, rounds: int, batches: int) -> list[dict[str, Any]]:
    """Trains both in turns.

    Args:
        model: one of `GOALS`.
        data_dir: folder of the reviews and of GloVe.
        rounds: epochs of each.
        batches: of an epoch; 0 for all.

    Returns:
        one record an epoch: round, name ("ours" or "plain"), seconds, processor_seconds,
        validation_seconds, val_accuracy.
    """
    config, dataset, table = problem(model, data_dir)
    contestants: dict[str, Any] = {
        "plain": PlainLoop(config, dict(dataset.arrays), table, batches),
        "ours": _Ours(config, dict(dataset.arrays), batches),
    }
    records: list[dict[str, Any]] = []
    for number in range(rounds):
        names = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        for name in names:
            wall, processor, _ = _timed(contestants[name].train)
            evaluation, _, accuracy = _timed(contestants[name].accuracy)
            record = {
                "round": number + 1,
                "name": name,
                "seconds": wall,
                "processor_seconds": processor,
                "validation_seconds": evaluation,
                "val_accuracy": accuracy,
            }
            records.append(record)
            CONSOLE.print(
                f"epoch {number + 1} {name:>5}: {wall:.1f} s, processor {processor:.1f} s; "
                f"validation {evaluation:.2f} s, accuracy {accuracy:.4f}"
            )
    return records


def main() -> None:
    """Runs the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(GOALS))
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--rounds", type=int, default=4, help="epochs of each")
    parser.add_argument("--batches", type=int, default=0, help="of an epoch; 0: all")
    parser.add_argument("--json", type=Path, default=None, help="a file for every figure")
    arguments = parser.parse_args()

    rounds = compare(arguments.model, arguments.data_dir, arguments.rounds, arguments.batches)
    record: dict[str, Any] = {"model": arguments.model, "epochs": rounds, "goals": []}
    for kind in ("seconds", "processor_seconds"):
        plain, ours = ([e[kind] for e in rounds if e["name"] == name] for name in ("plain", "ours"))
        CONSOLE.print(f"{kind}: plain {spread(plain, ' s')}, ours {spread(ours, ' s')}")
        share = statistics.median(pairwise(ours, plain))
        name = f"{arguments.model}, {kind} by the plain loop's"
        record["goals"].append(verdict(name, share, GOALS[arguments.model]))
    save(arguments.json, record, {})


if __name__ == "__main__":
    main()
