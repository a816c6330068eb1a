"""Small data for unit tests, and a guard: nothing here may start Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import raysweep.cluster  # noqa: F401  (Ray's settings are made before Ray is imported)

# isort: split
import numpy as np
import pandas as pd
import pytest
import ray
import torch

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, write_shard
from raysweep.data.sources.fetch import fetch, locate
from raysweep.trainables import LEARNERS, get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.images.config import ImageFeaturesData
from raysweep.trainables.learner import Learner
from raysweep.trainables.ratings.learner import RatingsData
from raysweep.trainables.sequences.config import SequenceConfig, WordsConfig
from raysweep.trainables.texts.config import SentimentData

NUM_USERS, NUM_ITEMS, NUM_RATINGS, RANK = 40, 25, 500, 3
NUM_TEXTS = 450
FEATURE_SHAPE = (6, 2, 2)


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a unit test must not start Ray; put it in tests/ray")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `raysweep` with arguments, in this process; returns exit code, output and errors."""
    from raysweep.cluster import cli

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["raysweep", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """Finds a published dataset in $RAYSWEEP_DATA or the cache, or downloads it.

    This is the only skip in tests/unit: a publisher may be out of reach, or (as ImageNet's) give
    the data to those alone who sign. Where RAYSWEEP_DATA names a folder, the samples are meant to
    be there, and a missing one fails with what to do.
    """

    def find(name: str) -> Path:
        folder = os.environ.get("RAYSWEEP_DATA", "")
        if folder and (Path(folder) / name).exists():
            return Path(folder) / name
        try:
            return locate(name) or fetch(name, progress=False)
        except UserError as error:
            missing = f"needs {name}, best in a folder that RAYSWEEP_DATA names: {error}"
            if folder:
                pytest.fail(missing)
            pytest.skip(missing)

    return find


@pytest.fixture(scope="session")
def ratings_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings 1 to 5 of a model of low rank with noise: there is something to learn."""
    rng = np.random.default_rng(7)
    users, items = rng.normal(size=(NUM_USERS, RANK)), rng.normal(size=(NUM_ITEMS, RANK))
    pairs = rng.choice(NUM_USERS * NUM_ITEMS, NUM_RATINGS, replace=False)
    user, item = pairs // NUM_ITEMS, pairs % NUM_ITEMS
    score = 3.0 + (users[user] * items[item]).sum(1) * 0.7 + rng.normal(size=NUM_RATINGS) * 0.3
    table = pd.DataFrame(
        {
            "user": user,
            "item": item,
            "rating": score.round().clip(1, 5),
            "timestamp": 880_000_000 + rng.permutation(NUM_RATINGS),
            "title": [f"Film {k} ({1950 + 2 * k})" for k in item],
        }
    )
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def texts_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of three classes, each with words of its own among words of all."""
    rng = np.random.default_rng(11)
    common = [f"w{k}" for k in range(30)]
    rows = []
    for number in range(NUM_TEXTS):
        label = number % 3
        own = [f"class{label}word{k}" for k in range(4)]
        length = int(rng.integers(1, 24))
        words = [str(rng.choice(own if rng.random() < 0.3 else common)) for _ in range(length)]
        rows.append({"text": " ".join([str(rng.choice(own)), *words]), "label": "abc"[label]})
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _read_only(arrays: Any) -> dict[str, Any]:
    """The arrays as the object store gives them to a trial."""
    for value in arrays.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return dict(arrays)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of a small grammar: a word tells much about its neighbours."""
    rng = np.random.default_rng(7)
    kinds = [("cat", "eats", "fish"), ("man", "reads", "books"), ("cow", "likes", "grass")]
    adverbs = ("often", "never", "today")
    picked = rng.integers(3, size=(300, 2)).tolist()
    sentences = [f"the {' '.join(kinds[kind])} {adverbs[other]}." for kind, other in picked]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(sentences))
    return path


def write_features(
    folder: Path, splits: dict[str, int], variants: tuple[int, ...] = (0,), seed: int = 5
) -> Path:
    """Shards of 40 images of three classes, whose mean shows in noise, with variants of each."""
    means = np.random.default_rng(5).normal(size=(3, *FEATURE_SHAPE))
    rng = np.random.default_rng(seed)
    storage, shards = Storage(folder), []
    for split, images in splits.items():
        for start in range(0, images, 40):
            names = [f"{split}/{k:04d}.jpg" for k in range(start, min(start + 40, images))]
            count = len(names) * len(variants)
            classes = rng.permutation(np.arange(len(names)) % 3)
            labels = np.repeat(classes, len(variants)).astype(np.int32)
            noise = rng.normal(size=(count, *FEATURE_SHAPE)) * 1.5
            sizes = rng.integers(50, 500, size=(2, len(names))).repeat(len(variants), 1)
            rows = Rows(
                features=np.maximum(means[labels] + noise, 0).astype(np.float16),
                labels=labels,
                heights=sizes[0].astype(np.int32),
                widths=sizes[1].astype(np.int32),
                ids=[name for name in names for _ in variants],
                variants=np.tile(np.array(variants, np.int16), len(names)),
            )
            shards.append(Shard(name=f"{split}-{start:05d}.parquet", split=split, rows=count))
            write_shard(storage, shards[-1].name, rows, split)
    index = ShardIndex(
        backbone="tiny",
        weights="random",
        weights_hash="0",
        preprocessing={"resize": {"size": 8}, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
        augmentation={"flip": True} if -1 in variants else {},
        feature_shape=FEATURE_SHAPE,
        classes=("ant", "bee", "cat"),
        counts={split: images * len(variants) for split, images in splits.items()},
        shards=tuple(shards),
        complete=True,
        source=str(folder / "images"),
    )
    index.write(storage)
    return folder


@pytest.fixture(scope="session")
def make_features() -> Callable[..., Path]:
    """Writes a folder of features; see `write_features`."""
    return write_features


@pytest.fixture(scope="session")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    return write_features(folder, {"train": 200, "valid": 60}, variants=(0, -1, 1))


def _load(learner: type[Learner[Any]], paths: dict[type[Any], Path]) -> Dataset:
    if learner.data_class not in paths:
        raise NotImplementedError(f"teach tests/unit/conftest.py tiny data for {learner.name}")
    path = paths[learner.data_class]
    dataset = learner.load_data(learner.data_class.create({"dataset": str(path)}))
    return Dataset(_read_only(dataset.arrays), _read_only(dataset.test), dataset.info)


@pytest.fixture(scope="session")
def ratings_dataset(ratings_csv: Path) -> Dataset:
    return _load(get_learner("matrix_factorization"), {RatingsData: ratings_csv})


@pytest.fixture(scope="session")
def texts_dataset(texts_csv: Path) -> Dataset:
    return _load(get_learner("sentiment"), {SentimentData: texts_csv})


@pytest.fixture(params=sorted(LEARNERS))
def learner_class(request: pytest.FixtureRequest) -> type[Learner[Any]]:
    """Every trainable in turn."""
    return get_learner(request.param)


@pytest.fixture
def tiny_paths(
    ratings_csv: Path, texts_csv: Path, text_file: Path, features_folder: Path
) -> dict[type[Any], Path]:
    texts = {SentimentData: texts_csv, SequenceConfig: text_file, WordsConfig: text_file}
    return {RatingsData: ratings_csv, ImageFeaturesData: features_folder, **texts}


@pytest.fixture
def tiny_dataset(learner_class: type[Learner[Any]], tiny_paths: dict[type[Any], Path]) -> Dataset:
    """A data set that the trainable of the test learns from within milliseconds."""
    return _load(learner_class, tiny_paths)
