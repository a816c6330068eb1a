"""A model that several processes train is the one that a single process would have trained."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.trainables import LEARNERS, get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.images.config import ImageFeaturesData
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.parallel import Parallel
from raysweep.trainables.ratings.matrix_factorization import (
    MatrixFactorization,
    MatrixFactorizationConfig,
)
from raysweep.trainables.trainer import Trainer

# Three processes import PyTorch and its compiler, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)

NUM_WORKERS = 3
WORKER = Path(__file__).with_name("parallel_worker.py")
# SGD: Adam turns the rounding of a gradient near 0 into a step of full length.
COMMON = {"optimizer": "sgd", "epochs": 2}
NO_DROPOUT = dict.fromkeys(
    (f"{site}_dropout" for site in ("word", "embedding", "channel", "conv", "pool", "dense")), 0.0
)
TEXTS = {**COMMON, **NO_DROPOUT, "precision": "float32", "dense_l2": 0.01, "embedding_l2": 0.01}
HEAD = {**COMMON, "hidden_sizes": "16,8", "dense_batchnorm": "true", "image_size": "true"}
# By name: family, fields, and whether the last batch is one row, so that most workers have none.
CASES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "heads": ("image_head", {**HEAD, "batch_size": 17}, False),
    "heads, one row left": ("image_head", HEAD, True),
    "filters": ("sentiment", {**TEXTS, "batch_size": 31, "num_filters": 8}, False),
    "filters, one row left": ("sentiment", {**TEXTS, "num_filters": 8}, True),
    "a frozen embedding, then trained": (
        "sentiment",
        {**TEXTS, "architecture": "dense", "embedding_phases": "1xfrozen,1xtrainable"},
        False,
    ),
    "an LSTM": ("sentiment", {**TEXTS, "architecture": "lstm", "lstm_size": 8}, False),
}


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, features_folder: Path, texts_dataset: Dataset
) -> dict[str, Any]:
    """What one process gives for each case, and what each of several does, in both ways."""
    features = ImageFeaturesData.create({"dataset": str(features_folder)})
    arrays = {"image_head": ImageHead.load_data(features).arrays, "sentiment": texts_dataset.arrays}
    jobs = {}
    for name, (family, fields, one_left) in CASES.items():
        if one_left:
            fields = {**fields, "batch_size": len(arrays[family]["train_labels"]) - 1}
        jobs[name] = {"family": family, "fields": fields, "arrays": dict(arrays[family])}
    path = tmp_path_factory.mktemp("parallel") / "jobs"
    torch.save(jobs, path)
    workers = [
        subprocess.Popen([sys.executable, str(WORKER), str(path), str(rank), str(NUM_WORKERS)])
        for rank in range(NUM_WORKERS)
    ]
    torch.set_num_threads(1)
    alone = {name: _train_alone(job) for name, job in jobs.items()}
    assert [worker.wait() for worker in workers] == [0] * NUM_WORKERS
    several = [torch.load(f"{path}.{rank}") for rank in range(NUM_WORKERS)]
    return {"alone": alone, "several": several}


def _train_alone(job: dict[str, Any]) -> dict[str, Any]:
    learner_class = get_learner(job["family"])
    learner = learner_class(learner_class.config_class.create(job["fields"]), job["arrays"])
    trainer = Trainer(learner)
    results = [trainer.run_epoch() for _ in range(learner.config.epochs)]
    return {"results": results, "weights": learner.model.state_dict()}


def test_every_family_that_can_be_shared_is_among_the_cases() -> None:
    shared = {name for name in LEARNERS if get_learner(name).splits != "no"}
    assert shared == {family for family, _, _ in CASES.values()}


@pytest.mark.parametrize("overlap", [False, True], ids=["one message", "overlapped"])
@pytest.mark.parametrize("case", list(CASES))
def test_several_processes_train_what_one_does(
    answers: dict[str, Any], case: str, overlap: bool
) -> None:
    alone = answers["alone"][case]
    for worker in answers["several"]:
        together = worker[case, overlap]
        for mine, expected in zip(together["results"], alone["results"], strict=True):
            assert mine == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(together["weights"], alone["weights"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", list(CASES))
def test_workers_have_the_same_weights_to_the_bit(answers: dict[str, Any], case: str) -> None:
    first, *others = answers["several"]
    for overlap in (False, True):
        for other in others:
            one, another = (worker[case, overlap]["weights"] for worker in (first, other))
            assert all(torch.equal(values, another[name]) for name, values in one.items())


def test_a_family_that_cannot_be_shared_says_so(ratings_dataset: Dataset) -> None:
    learner = MatrixFactorization(MatrixFactorizationConfig(), ratings_dataset.arrays)
    with pytest.raises(UserError, match="trains in one process only; leave --workers out"):
        Trainer(learner, cast(Parallel, object()))


def test_validation_examples_are_the_rows_of_the_validation_arrays(texts_dataset: Dataset) -> None:
    learner_class = get_learner("sentiment")
    config = learner_class.config_class.create({})
    arrays = texts_dataset.arrays
    assert learner_class(config, arrays).num_validation_examples() == len(arrays["val_labels"])
    uneven = dataclasses.replace(texts_dataset, arrays={**arrays, "val_ids": arrays["val_ids"][1:]})
    with pytest.raises(ValueError, match="arrays named val_… have"):
        learner_class(config, uneven.arrays).num_validation_examples()
