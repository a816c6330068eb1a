"""Epochs of small models beside what one would write instead; `benchmarks.table` shows them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from benchmarks import problem
from benchmarks.contestants.textbook import (
    Net,
    RatingsDataset,
    linear_to_zero,
    make_loaders,
    train_epoch,
    validate,
)
from benchmarks.harness import RIVALS, scratch
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, write_shard
from raysweep.trainables import get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.pack import Pack
from raysweep.trainables.trainer import Trainer

__all__ = [
    "EPOCHS_A_ROUND",
    "Measured",
    "factorisation",
    "head_beside_datasets",
    "head_from_shards",
    "head_in_memory",
    "packed_factorisations",
    "packed_heads",
    "packed_networks",
    "packed_texts",
    "packed_words",
    "rival",
    "surprise",
]

# Epochs of these small models are short: a round has several, so that it says something.
EPOCHS_A_ROUND = 4
_PACK = 8
_PACK_EPOCHS = 2  # of eight models each
_ROWS, _WIDTH, _CLASSES = 8192, 1280, 10


@dataclass(frozen=True)
class Measured:
    """Seconds, of processor time if not said otherwise, round by round, and a metric at the end."""

    ours: list[float]
    theirs: list[float]
    metric: float
    other_metric: float


def _in_turns(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    epochs: int = EPOCHS_A_ROUND,
) -> tuple[list[float], list[float]]:
    """Runs both once unmeasured, for what is done once, and then in turns."""
    times: tuple[list[float], list[float]] = [], []
    for number in range(-1, rounds):
        for place in (0, 1) if number % 2 else (1, 0):
            torch.set_flush_denormal(False)  # PyTorch's default, which raysweep's epochs change
            start = clock()
            for _ in range(epochs):
                (ours, theirs)[place]()
            if number >= 0:
                times[place].append(clock() - start)
    return times


def _epochs(rounds: int) -> int:
    return (rounds + 1) * EPOCHS_A_ROUND


def _training(learner: Learner[Any]) -> Callable[[], float]:
    """What trains an epoch of a learner and does not validate."""
    trainer = Trainer(learner)
    return lambda: trainer.train_epoch(trainer.begin_epoch())


def factorisation(rounds: int, batches: int) -> Measured:
    """Matrix factorisation of MovieLens 100k with raysweep's defaults, training alone."""
    del batches
    learner_class = get_learner(problem.TASK)
    with scratch() as folder:
        task = problem.prepare(folder, trials=1, epochs=_epochs(rounds))
        config = task.points[0]
        dataset = learner_class.load_data(learner_class.data_class.create({"dataset": "ml-100k"}))
        learner = learner_class(learner_class.config_class.create(config), dataset.arrays)
        torch.manual_seed(config["seed"])
        train, val = RatingsDataset(folder / "train.csv"), RatingsDataset(folder / "val.csv")
    net = Net(task.num_users, task.num_items, train, config)
    optimizer = torch.optim.Adam(net.parameters(), lr=config["learning_rate"])
    loader, val_loader = make_loaders(train, val, config["batch_size"], num_workers=0)
    schedule = linear_to_zero(optimizer, config["epochs"] * len(loader))
    times = _in_turns(
        _training(learner), lambda: train_epoch(net, loader, optimizer, schedule), rounds
    )
    rmse = validate(net, val_loader, task.lowest, task.highest)
    return Measured(*times, learner.validate()["val_rmse"], rmse)


def surprise(rounds: int, batches: int) -> Measured:
    """The same factorisation beside Surprise's SVD in an environment of its own (`make rivals`).

    Its epoch is a compiled loop over ratings one by one, with biases and 64 factors as here.
    """
    del batches
    with scratch() as folder:
        problem.prepare(folder, trials=1, epochs=1)
        found = rival("surprise_svd", folder, rounds, EPOCHS_A_ROUND)
    mine = factorisation(rounds, 0)
    return Measured(mine.ours, found["seconds"], mine.metric, found["metric"])


def rival(module: str, folder: Path, *arguments: int) -> dict[str, Any]:
    """What a program of the rivals' environment answers about a folder.

    Raises:
        RuntimeError: it failed; the message holds the end of what it said.
    """
    program = Path(__file__).parent / "contestants" / f"{module}.py"
    command = [str(RIVALS), str(program), str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _write_shards(folder: Path) -> None:
    """Features of eight shards, as `raysweep features` writes them, of classes with a mean each."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(_CLASSES, _WIDTH)) * 0.1
    storage, shards, each = Storage(folder), [], _ROWS // 8
    for number in range(8):
        labels = rng.integers(0, _CLASSES, each).astype(np.int32)
        rows = Rows(
            features=(means[labels] + rng.normal(size=(each, _WIDTH))).astype(np.float16),
            labels=labels,
            heights=np.full(each, 224, np.int32),
            widths=np.full(each, 224, np.int32),
            ids=[f"{number}-{k}.jpg" for k in range(each)],
            variants=np.zeros(each, np.int16),
        )
        split = "valid" if number == 7 else "train"
        shards.append(Shard(name=f"{split}-{number:05d}.parquet", split=split, rows=each))
        write_shard(storage, shards[-1].name, rows, split)
    counts = {s: sum(one.rows for one in shards if one.split == s) for s in ("train", "valid")}
    ShardIndex(
        backbone="generated",
        weights="random",
        weights_hash="0",
        preprocessing={},
        augmentation={},
        feature_shape=(_WIDTH,),
        classes=tuple(map(str, range(_CLASSES))),
        counts=counts,
        shards=tuple(shards),
        complete=True,
    ).write(storage)


# One dense layer and no dropout, so that a plain loop does the same.
_PLAIN_HEAD = {
    "hidden_sizes": "64",
    "input_batchnorm": False,
    "input_dropout": 0.0,
    "dense_dropout": 0.0,
    "dense_l2": 0.0,
    "schedule": "constant",
}


def _head(folder: Path, stream: bool, **fields: Any) -> Learner[Any]:
    learner = get_learner("image_head")
    data = {"dataset": str(folder), "stream": stream}
    dataset = learner.load_data(learner.data_class.create(data))
    return learner(learner.config_class.create(fields), dataset.arrays)


class _Shards(IterableDataset[tuple[Tensor, Tensor]]):
    """Shards in a new order, the rows of each shuffled, one by one, as a DataLoader wants them."""

    def __init__(self, files: list[Path], numbers: dict[str, np.ndarray]) -> None:
        self.files, self.numbers = files, numbers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for place in torch.randperm(len(self.files)).tolist():
            table = pq.read_table(self.files[place], columns=["features", "label"])
            features = table["features"].combine_chunks().to_numpy_ndarray().copy()
            labels = table["label"].to_numpy()
            kept = self.numbers[self.files[place].name]
            for row in kept[torch.randperm(len(kept)).numpy()]:
                yield torch.from_numpy(features[row]), torch.tensor(int(labels[row]))


def head_from_shards(rounds: int, batches: int) -> Measured:
    """A head that streams its features, beside a DataLoader over the same rows of the shards."""
    del batches
    with scratch() as folder:
        _write_shards(folder)
        learner = _head(folder, True, epochs=_epochs(rounds), **_PLAIN_HEAD)
        stream = learner.data["train_stream"]
        numbers = {s.name: kept for s, kept in zip(stream.shards, stream.kept, strict=True)}
        files = [folder / shard.name for shard in stream.shards]
        loader = DataLoader(_Shards(files, numbers), batch_size=learner.config.batch_size)
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(_WIDTH, 64), nn.ReLU(), nn.Linear(64, _CLASSES))
        optimizer = torch.optim.Adam(net.parameters(), lr=learner.config.learning_rate)

        def plain() -> None:
            for features, labels in loader:
                loss = nn.functional.cross_entropy(net(features.float()), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        times = _in_turns(_training(learner), plain, rounds)
        with torch.inference_mode():
            scores = net(learner.data["val_features"].float())
        right = float((scores.argmax(1) == learner.data["val_labels"]).double().mean())
        return Measured(*times, learner.validate()["val_accuracy"], right)


def head_beside_datasets(rounds: int, batches: int) -> Measured:
    """A head that streams its features, beside Hugging Face's datasets on the same shards.

    Its Parquet reader refuses columns of Arrow's tensor type, so it gets the same numbers as lists.
    Rounds of one epoch: it waits seconds after each, which its processor time does not show.
    """
    del batches
    with scratch() as folder:
        _write_shards(folder)
        learner = _head(folder, True, epochs=_epochs(rounds), **_PLAIN_HEAD)
        config = learner.config
        fields = {"width": _WIDTH, "hidden": 64, "classes": _CLASSES}
        fields |= {"batch_size": config.batch_size, "learning_rate": config.learning_rate}
        (folder / "head.json").write_text(json.dumps(fields))
        for path in folder.glob("*.parquet"):
            table = pq.read_table(path, columns=["features", "label"])
            features = table["features"].combine_chunks().storage
            lists = pa.table({"features": features, "label": table["label"]})
            (folder / "lists").mkdir(exist_ok=True)
            pq.write_table(lists, folder / "lists" / path.name)
        found = rival("hf_shards", folder, rounds, 1)
        ours, _ = _in_turns(_training(learner), lambda: None, rounds, epochs=1)
        return Measured(ours, found["seconds"], learner.validate()["val_accuracy"], found["metric"])


def head_in_memory(rounds: int, batches: int) -> Measured:
    """The default head that streams its features, beside the same with them in memory.

    By the clock: shards are read beside the training, on another core.
    """
    del batches
    with scratch() as folder:
        _write_shards(folder)
        streamed, whole = (
            _head(folder, stream, epochs=_epochs(rounds)) for stream in (True, False)
        )
        both = (_training(streamed), _training(whole))
        times = _in_turns(*both, rounds, time.perf_counter)
        metrics = (one.validate()["val_accuracy"] for one in (streamed, whole))
        return Measured(*times, *metrics)


def _packed(
    learner: type[Learner[Any]], dataset: Dataset, own: list[dict[str, Any]], rounds: int
) -> Measured:
    """The same models in one pack, and one after the other; training and validation."""
    epochs = (rounds + 1) * _PACK_EPOCHS
    configs = [learner.config_class.create({"epochs": epochs, **fields}) for fields in own]
    packed, alone = ([learner(config, dataset.arrays) for config in configs] for _ in range(2))
    pack = Pack(packed)
    trainers = [Trainer(learner) for learner in alone]
    both = pack.run_epoch, lambda: [trainer.run_epoch() for trainer in trainers]
    times = _in_turns(*both, rounds, epochs=_PACK_EPOCHS)
    name = next(iter(learner.metrics))
    metrics = (sum(one.validate()[name] for one in those) / _PACK for those in (packed, alone))
    return Measured(*times, *metrics)


def packed_factorisations(rounds: int, batches: int) -> Measured:
    """Eight factorisations of MovieLens 100k with 8 factors, which differ in their L2."""
    del batches
    own = [{"num_factors": 8, "embedding_l2": 0.02 * 1.5**k} for k in range(_PACK)]
    return _packed_ratings("matrix_factorization", own, rounds)


def packed_networks(rounds: int, batches: int) -> Measured:
    """Eight networks on MovieLens 100k with 8 factors, which differ in L2 and dropout."""
    del batches
    own = [
        {"num_factors": 8, "dense_l2": 1e-5 * 2**k, "dense_dropout": 0.05 * k} for k in range(_PACK)
    ]
    return _packed_ratings("ratings_net", own, rounds)


def packed_words(rounds: int, batches: int) -> Measured:
    """Eight sets of word vectors of 8 numbers, which differ in dropout, from 20,000 words."""
    del batches
    sizes = {"embedding_size": 8, "hidden_size": 16}
    own = [{**sizes, "embedding_dropout": 0.02 * k} for k in range(_PACK)]
    learner = get_learner("word_vectors")
    dataset = learner.load_data(learner.data_class.create({"dataset": "nietzsche"}))
    parts = {name: dataset.arrays[name][:20_000] for name in ("train_ids", "val_ids")}
    return _packed(learner, Dataset({**dataset.arrays, **parts}, {}), own, rounds)


def packed_texts(rounds: int, batches: int) -> Measured:
    """Eight CNNs on some 400 reviews, which differ in dropout: they take turns on a batch."""
    del batches
    own = [{"dense_dropout": 0.1 * k} for k in range(_PACK)]
    learner = get_learner("sentiment")
    arrays = dict(learner.load_data(learner.data_class.create({})).arrays)
    for name in (name for name in arrays if name.startswith(("train_", "val_"))):
        arrays[name] = arrays[name][::60]
    return _packed(learner, Dataset(arrays, {}), own, rounds)


def _packed_ratings(name: str, own: list[dict[str, Any]], rounds: int) -> Measured:
    learner = get_learner(name)
    dataset = learner.load_data(learner.data_class.create({"dataset": "ml-100k"}))
    return _packed(learner, dataset, own, rounds)


def packed_heads(rounds: int, batches: int) -> Measured:
    """Eight heads on 128 features with one dense layer of 64 units, which differ in L2, dropout."""
    del batches
    rng = np.random.default_rng(0)
    means = rng.normal(size=(_CLASSES, 128)) * 0.3
    arrays: dict[str, Any] = {"num_classes": _CLASSES, "feature_shape": (128,)}
    for name, count in (("train", 4096), ("val", 1024)):
        labels = rng.integers(0, _CLASSES, count)
        arrays[f"{name}_labels"] = labels
        arrays[f"{name}_features"] = (means[labels] + rng.normal(size=(count, 128))).astype("f2")
        arrays[f"{name}_sizes"] = np.full((count, 2), 224, np.float32)
    arrays["train_variants"] = np.zeros(4096, np.int16)
    own = [
        {"hidden_sizes": "64", "dense_l2": 1e-5 * 2**k, "dense_dropout": 0.05 * k}
        for k in range(_PACK)
    ]
    return _packed(get_learner("image_head"), Dataset(arrays, {}), own, rounds)
