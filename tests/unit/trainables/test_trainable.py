"""The Ray Tune trainable, driven by hand as Ray drives it, without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from ray.tune.trainable import trainable as ray_trainable
from torch import Tensor

from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import Learner
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.trial_files import BEST, INDEX, LAST, load_best, trial_folder

METRIC = "val_rmse"


class Scripted(MatrixFactorization):
    """Reports the metric that the script has for the epoch."""

    script: ClassVar[list[float]] = [3.0, 1.0, 2.0, 1.0]

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        value = self.script[self.epoch - 1]
        return {f"{prefix}_{name}": value for name in ("rmse", "mse", "mae")}


class Failing(MatrixFactorization):
    """Fails in the second epoch of seed 13."""

    def on_epoch_start(self, epoch: int) -> None:
        if epoch == 2 and self.config.seed == 13:
            raise RuntimeError("the cat sat on the keyboard\nand again")


class Run:
    """Makes trainables of one run."""

    def __init__(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        self.storage, self.arrays = Storage(folder), arrays

    def start(
        self,
        index: int,
        learner: type[Learner[Any]] = MatrixFactorization,
        mode: str = "min",
        **fields: Any,
    ) -> LearnerTrainable:
        run = self

        class Direct(LearnerTrainable):
            def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
                super().setup(
                    config,
                    learner_class=learner,
                    arrays=run.arrays,
                    run_uri=run.storage.uri,
                    metric=METRIC,
                    mode=mode,
                    threads=1,
                )

        return Direct(settings(index, **fields))

    def folder(self, index: int) -> Storage:
        return self.storage / trial_folder(index)

    def state(self, index: int, name: str = LAST) -> tuple[dict[str, Any], dict[str, Any]]:
        return checkpoint.load(self.folder(index), name)


def report(result: dict[str, Any]) -> dict[str, Any]:
    """What a result reports in full, as the run's callback reads it."""
    content = result["report"]
    return dict(content if isinstance(content, dict) else json.loads(content))


def settings(index: int, **fields: Any) -> dict[str, Any]:
    base = {"epochs": 3, "batch_size": 64, "num_factors": 4, "learning_rate": 0.02, "seed": 5}
    return {**base, **fields, INDEX: index}


@pytest.fixture
def run(tmp_path: Path, ratings_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    return Run(tmp_path / "run", ratings_dataset.arrays)


def untimed(value: Any) -> Any:
    """Results and headers without the one thing in them that no two runs share."""
    if isinstance(value, dict):
        plain = (
            {**value, "report": report(value)} if isinstance(value.get("report"), str) else value
        )
        # A result's history (a text) comes with a restart's first one alone.
        shown = {k: v for k, v in plain.items() if k != "history" or not isinstance(v, str)}
        return {k: untimed(v) for k, v in shown.items() if k != "time_epoch_s"}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def steps(trainable: LearnerTrainable, num: int) -> list[dict[str, Any]]:
    return [untimed(trainable.step()) for _ in range(num)]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    return bool(one == other)


def test_a_step_is_an_epoch_and_the_last_one_says_so(run: Run) -> None:
    results = steps(run.start(0), 3)
    assert [r["epoch"] for r in results] == [1, 2, 3]
    assert [r["finished"] for r in results] == [False, False, True]
    assert [r["done"] for r in results] == [False, False, True]
    assert all(r[METRIC] == report(r)[METRIC] for r in results)
    assert all(report(r)["epoch"] == r["epoch"] for r in results)


def test_a_trial_that_stops_early_is_a_longer_one_up_to_there(run: Run) -> None:
    """The schedule of the learning rate is that of all epochs."""
    early, full = steps(run.start(0, stop_after=2), 2), steps(run.start(1), 2)
    assert [r["finished"] for r in early] == [False, True]
    assert [report(r) for r in early] == [report(r) for r in full]


def test_rays_own_call_of_a_step_works(run: Run) -> None:
    result = run.start(0, epochs=1).train()
    assert result["done"]
    assert result["training_iteration"] == 1
    assert report(result)["time_epoch_s"] > 0


def test_the_state_is_written_after_every_epoch(run: Run) -> None:
    trainable = run.start(7)
    for epoch in (1, 2):
        result = trainable.step()
        state, header = run.state(7)
        assert state["epoch"] == epoch
        assert header["learner"] == "matrix_factorization"
        assert header["history"][-1] == report(result)
        assert [r["epoch"] for r in header["history"]] == list(range(1, epoch + 1))
        assert INDEX not in header["config"]
    assert run.folder(7).uri.endswith("trials/00007")


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 1)])
def test_the_best_file_holds_the_best_epoch_and_the_first_of_equals(
    run: Run, mode: str, best: int
) -> None:
    trainable = run.start(0, Scripted, mode, epochs=4)
    states = []
    for _ in range(4):
        trainable.step()
        states.append(run.state(0)[0])
    state, header = run.state(0, BEST)
    assert header["best"]["epoch"] == best
    assert same(state["model"], states[best - 1]["model"])
    assert not same(state["model"], states[-1]["model"])


def test_the_best_model_can_be_loaded_and_measures_what_was_reported(run: Run) -> None:
    results = steps(run.start(0, epochs=8, learning_rate=0.1), 8)
    learner = load_best(MatrixFactorization, run.arrays, run.folder(0))
    best = min(results, key=lambda r: r[METRIC])
    assert learner.epoch == best["epoch"]
    assert learner.validate()[METRIC] == best[METRIC]


def test_loading_the_best_of_a_trial_without_one_is_not_found(run: Run) -> None:
    with pytest.raises(FileNotFoundError):
        load_best(MatrixFactorization, run.arrays, run.folder(0))


def test_the_last_state_of_a_trial_has_no_optimizer_and_can_be_reported_again(run: Run) -> None:
    trainable = run.start(0)
    last = steps(trainable, 2)[-1]
    assert "optimizer" in run.state(0)[0]
    last = steps(trainable, 1)[-1]
    assert last["done"]
    assert "optimizer" not in run.state(0)[0]
    assert steps(run.start(0), 1) == [last]


def test_a_trial_in_a_used_process_equals_one_in_a_fresh_process(run: Run) -> None:
    expected = steps(run.start(1, seed=6), 3)
    used = run.start(0, optimizer="sgd", num_factors=8, epochs=5)
    steps(used, 2)
    assert used.reset(settings(2, seed=6))
    assert steps(used, 3) == expected
    for name in (LAST, BEST):
        one, other = run.state(1, name), run.state(2, name)
        assert same(one[0], other[0])
        assert untimed(one[1]) == untimed(other[1])


def test_a_reset_after_a_failure_forgets_it(run: Run) -> None:
    expected = steps(run.start(1, Failing), 3)
    used = run.start(0, Failing, seed=13)
    assert "failure" in steps(used, 2)[-1]
    used.reset(settings(2))
    assert steps(used, 3) == expected


def test_a_restarted_trial_repeats_its_last_result_once_and_goes_on(run: Run) -> None:
    expected = steps(run.start(0), 3)
    before = steps(run.start(1), 2)
    assert before == expected[:2]
    restarted = run.start(1)
    first = restarted.step()
    assert untimed(first) == before[-1], "the last result once more"
    assert [e["epoch"] for e in json.loads(first["history"])] == [1, 2], "and what was before it"
    assert steps(restarted, 1) == expected[2:]
    for name in (LAST, BEST):
        assert same(run.state(0, name)[0], run.state(1, name)[0])
        assert untimed(run.state(0, name)[1]) == untimed(run.state(1, name)[1])


def test_a_trial_that_comes_back_to_the_same_process_goes_on_too(run: Run) -> None:
    expected = steps(run.start(0), 3)
    shared = run.start(1)
    steps(shared, 1)
    shared.reset(settings(2, seed=9))
    steps(shared, 1)
    shared.reset(settings(1))
    assert steps(shared, 3) == expected


def test_a_restart_keeps_the_best_of_before(run: Run) -> None:
    steps(run.start(0, Scripted, epochs=4), 2)
    steps(run.start(0, Scripted, epochs=4), 3)
    assert run.state(0, BEST)[1]["best"]["epoch"] == 2


def test_a_finished_trial_that_is_restarted_is_finished_at_once(run: Run) -> None:
    expected = steps(run.start(0), 3)[-1]
    assert steps(run.start(0), 1) == [expected]
    assert expected["done"]


def test_a_state_of_another_configuration_is_not_taken(run: Run) -> None:
    steps(run.start(0, learning_rate=0.01), 2)
    assert steps(run.start(0), 1)[0]["epoch"] == 1


def test_a_failure_is_a_result_with_the_traceback_on_disk(run: Run) -> None:
    trainable = run.start(0, Failing, seed=13)
    assert trainable.step()["epoch"] == 1
    result = trainable.step()
    assert result["done"]
    assert result["failure"] == "RuntimeError: the cat sat on the keyboard"
    assert METRIC not in result
    text = run.folder(0).read("error.txt").decode()
    assert "Traceback" in text
    assert "on_epoch_start" in text
    assert trainable.step()["failure"] == result["failure"]
    assert run.state(0)[0]["epoch"] == 1


def test_an_error_without_words_has_its_type(run: Run) -> None:
    class Silent(MatrixFactorization):
        def on_epoch_start(self, epoch: int) -> None:
            raise MemoryError

    assert run.start(0, Silent).step()["failure"].startswith("MemoryError")


def test_a_diverging_trial_fails_with_the_reason(run: Run) -> None:
    trainable = run.start(0, optimizer="sgd", learning_rate=10.0, schedule="constant", epochs=30)
    result: dict[str, Any] = {}
    while not result.get("done"):
        result = trainable.step()
    assert result["failure"].startswith("TrainingDivergedError: the loss is not finite")


def test_a_configuration_that_is_wrong_fails_in_the_first_step(run: Run) -> None:
    result = run.start(0, nonsense=1).step()
    assert result["done"]
    assert "nonsense" in result["failure"]
    assert run.folder(0).exists("error.txt")


def test_a_damaged_state_fails_and_names_the_file(run: Run) -> None:
    run.folder(0).write(LAST, b"not a state")
    result = run.start(0).step()
    assert result["done"]
    assert f"{run.folder(0).uri}/{LAST}" in result["failure"]


def test_another_trial_can_take_the_state(run: Run, tmp_path: Path) -> None:
    donor, taker = run.start(0), run.start(1, learning_rate=0.001, seed=8)
    steps(donor, 2)
    steps(taker, 1)
    (tmp_path / "copy").mkdir()
    donor.save_checkpoint(str(tmp_path / "copy"))
    taker.load_checkpoint(str(tmp_path / "copy"))
    result = taker.step()
    assert result["epoch"] == 3
    assert result["finished"]
    state, header = run.state(1)
    assert header["config"]["learning_rate"] == 0.001
    assert header["config"]["seed"] == 8
    assert state["epoch"] == 3
    # The donor's weights after its third epoch differ: other rate, other order.
    steps(donor, 1)
    assert not same(run.state(0)[0]["model"], state["model"])


def test_a_state_that_was_copied_goes_on_like_the_donor(run: Run, tmp_path: Path) -> None:
    donor, taker = run.start(0), run.start(1)
    steps(donor, 1)
    (tmp_path / "copy").mkdir()
    donor.save_checkpoint(str(tmp_path / "copy"))
    taker.load_checkpoint(str(tmp_path / "copy"))
    assert steps(taker, 2) == steps(donor, 2)


def test_the_best_file_of_a_taker_holds_the_best_that_it_reported(run: Run, tmp_path: Path) -> None:
    """The ledger judges a trial by its own reports; its best file must hold that very epoch."""

    class Poor(Scripted):
        script: ClassVar[list[float]] = [9.0, 8.0, 7.0, 6.0]

    donor, taker = run.start(0, Scripted, epochs=4), run.start(1, Poor, epochs=4)
    steps(donor, 2)
    reported = steps(taker, 2)
    (tmp_path / "copy").mkdir()
    donor.save_checkpoint(str(tmp_path / "copy"))
    taker.load_checkpoint(str(tmp_path / "copy"))
    reported += steps(taker, 1)
    best = min(reported, key=lambda r: r[METRIC])
    assert run.state(1, BEST)[1]["best"]["epoch"] == best["epoch"] == 3


def test_a_trial_reads_nothing_but_its_arrays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a trial opened the data")

    monkeypatch.setattr("raysweep.data.ratings.movielens.load", refuse)
    assert "failure" not in steps(run.start(0), 1)[0]
