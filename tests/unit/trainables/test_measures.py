"""Size, memory and time of a model: measured where they are named, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysweep.core.objectives import MEASURES, Constraint, Objective
from raysweep.core.storage import Storage
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner, num_parameters
from raysweep.trainables.measures import Meter
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.trial_files import INDEX

CPU = torch.device("cpu")


def test_every_family_can_be_measured(
    learner_class: type[Learner[Any]], tiny_dataset: Dataset
) -> None:
    config = learner_class.config_class.create({"epochs": 1})
    learner = learner_class(config, tiny_dataset.arrays)
    before = [p.detach().clone() for p in learner.model.parameters()]
    measured = Meter(MEASURES, CPU).measure(learner)
    assert measured.keys() == MEASURES.keys() - {"time_epoch_s"}, "the trainable times epochs"
    assert measured["num_parameters"] == num_parameters(learner_class, config, tiny_dataset.arrays)
    assert 0 < measured["latency_ms"] < 60_000
    assert measured["memory_mb"] > 10
    after = learner.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_nothing_is_measured_unless_it_is_named(ratings_dataset: Dataset) -> None:
    class Unmeasured:
        """Whatever is asked of it, is one thing too much."""

    meter = Meter({"val_rmse", "time_epoch_s"}, CPU)
    assert meter.measure(Unmeasured()) == {}  # type: ignore[arg-type]


def test_the_peak_of_memory_is_that_of_the_trial() -> None:
    """Also where the trial before it in the same process took far more."""

    class Small:
        model = torch.nn.Linear(1, 1)

    taken = np.ones(40_000_000)  # 320 MB
    before = Meter({"memory_mb"}, CPU)
    high = before.measure(Small())["memory_mb"]  # type: ignore[arg-type]
    del taken
    now = Meter({"memory_mb"}, CPU).measure(Small())["memory_mb"]  # type: ignore[arg-type]
    assert high - now > 300
    held = np.ones(20_000_000)
    del held
    meter = Meter({"memory_mb"}, CPU)
    passing = np.ones(20_000_000)
    del passing
    assert meter.measure(Small())["memory_mb"] - now > 140  # type: ignore[arg-type]


class Run:
    """Trainables of one run, started as Ray does, without Ray."""

    def __init__(self, folder: Path, dataset: Dataset, *constraints: Constraint) -> None:
        self.folder, self.dataset, self.constraints = folder, dataset, constraints

    def start(self) -> LearnerTrainable:
        run = self

        class Direct(LearnerTrainable):
            def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
                super().setup(
                    config,
                    learner_class=MatrixFactorization,
                    arrays=run.dataset.arrays,
                    run_uri=Storage(run.folder).uri,
                    metric="val_rmse",
                    mode="min",
                    objectives=(Objective("val_rmse", "min"), Objective("num_parameters", "min")),
                    constraints=run.constraints,
                )

        config = MatrixFactorization.config_class.create({"epochs": 2, "num_factors": 4})
        return Direct({**config.to_dict(), INDEX: 0})


def test_a_trial_reports_what_it_is_judged_by(tmp_path: Path, ratings_dataset: Dataset) -> None:
    report = Run(tmp_path, ratings_dataset).start().step()
    last = json.loads(report["report"])
    assert report["num_parameters"] == last["num_parameters"] > 0
    assert "latency_ms" not in last
    assert "infeasible" not in report


def test_a_constraint_that_is_broken_ends_the_trial_after_its_first_epoch(
    tmp_path: Path, ratings_dataset: Dataset
) -> None:
    run = Run(tmp_path, ratings_dataset, Constraint("latency_ms", "<", 0.0))
    for _ in range(2):  # A trial that starts again comes to the same end, without training.
        report = run.start().step()
        assert report["done"]
        assert not report["finished"]
        assert report["epoch"] == 1
        assert report["infeasible"].startswith("latency_ms<0 does not hold: it was ")


def test_a_constraint_that_is_kept_changes_nothing(
    tmp_path: Path, ratings_dataset: Dataset
) -> None:
    run = Run(tmp_path, ratings_dataset, Constraint("num_parameters", "<=", 1e9))
    trainable = run.start()
    assert [trainable.step()["finished"] for _ in range(2)] == [False, True]
