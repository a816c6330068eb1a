"""Models of the user's are asked: by what a TensorLearner has, by a method, by a function."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import raysweep
from raysweep.cluster.interface import Run
from raysweep.cluster.models.predict import way_of
from raysweep.core.errors import UserError
from raysweep.trainables import LEARNERS, get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.trainer import Trainer
from tests.helpers import fake_run

Ask = Callable[..., tuple[int, str, str]]
CENTRES = np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])


def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    return CENTRES[labels] + rng.normal(size=(300, 2)) * 0.3, labels


class Classes(raysweep.TensorLearner):
    """A plane cut into three."""

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        return raysweep.split(*points())

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))


class Sums(Classes):
    """Two values of each point, a sum and a difference."""

    metrics = {"val_rmse": "min", "val_loss": "min"}

    @classmethod
    def load_data(cls, config: Any) -> Dataset:
        inputs = points()[0]
        return raysweep.split(inputs, inputs @ np.array([[1.0, 1.0], [1.0, -1.0]]))

    def build_model(self) -> nn.Module:
        return nn.Linear(2, 2)


class Lengths(Classes):
    """Answers by a method of its own."""

    def predict(self, inputs: Sequence[Any]) -> Any:
        return [len(each) for each in inputs]


class Details(Lengths):
    def predict(self, inputs: Sequence[Any]) -> Any:
        return [{"length": len(each), "first": each[0]} for each in inputs]


class Frames(Lengths):
    def predict(self, inputs: Sequence[Any]) -> Any:
        return pd.DataFrame({"letter": list("".join(inputs))})


class TooFew(Lengths):
    def predict(self, inputs: Sequence[Any]) -> Any:
        return [1.0]


class ByName(Classes):
    predictor = "own_way:answer"


class Misnamed(Classes):
    predictor = "text"


def run_of(learner: type[raysweep.TensorLearner], num_epochs: int = 0) -> Any:
    dataset = learner.load_data(None)
    config = learner.config_class.create({"learning_rate": 0.05, "epochs": 30, "batch_size": 16})
    model = learner(config, dataset.arrays)
    for _ in range(num_epochs):
        Trainer(model).run_epoch()
    return fake_run(model, dataset)


@pytest.fixture(scope="module")
def classes() -> Any:
    return run_of(Classes, 20)


def ask(run: Any, inputs: Any) -> pd.DataFrame:
    return raysweep.predict(Run(run), inputs)


def test_classes_with_their_probabilities(classes: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "centres.npy", CENTRES)
    answers = ask(classes, [*CENTRES, str(tmp_path / "centres.npy")])
    assert answers.columns.tolist() == ["source", "predicted", "p_0", "p_1", "p_2"]
    assert answers["predicted"].tolist() == [0, 1, 2] * 2
    shares = answers[["p_0", "p_1", "p_2"]].to_numpy()
    assert np.allclose(shares.sum(1), 1)
    assert np.allclose(shares[:3], shares[3:]), "and no dropout, which would differ"
    assert answers["source"].tolist()[:4:3] == ["row 1", f"{tmp_path / 'centres.npy'}, row 1"]
    assert ask(classes, CENTRES).equals(answers[:3])


def test_values() -> None:
    answers = ask(run_of(Sums, 30), [[1.0, 0.5]])
    assert answers.columns.tolist() == ["source", "predicted_1", "predicted_2"]
    assert answers.loc[0, "predicted_1"] == pytest.approx(1.5, abs=0.1)
    assert answers.loc[0, "predicted_2"] == pytest.approx(0.5, abs=0.1)


def test_a_method_of_ones_own() -> None:
    answers = ask(run_of(Lengths), ["one", "three"])
    assert answers.to_dict("list") == {"source": ["one", "three"], "predicted": [3, 5]}
    answers = ask(run_of(Lengths), [(1, 2), (3,)])
    assert answers["source"].tolist() == ["input 1", "input 2"]
    answers = ask(run_of(Details), ["one", "three"])
    assert answers.columns.tolist() == ["source", "length", "first"]
    assert ask(run_of(Frames), ["ab", "c"])["letter"].tolist() == ["a", "b", "c"]
    with pytest.raises(UserError, match=r"TooFew\.predict gave 1 answers to 2 inputs"):
        ask(run_of(TooFew), ["one", "three"])


def test_a_function_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def answer(learner, inputs):\n    return [(learner.name, x) for x in inputs]\n"
    (tmp_path / "own_way.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask(run_of(ByName), ["x"])["predicted"].tolist() == [("ByName", "x")]
    with pytest.raises(UserError, match="Misnamed: predictor = 'text'; did you mean 'texts'"):
        ask(run_of(Misnamed), ["x"])


def test_which_families_are_asked_and_how() -> None:
    ways = {name: way_of(get_learner(name)) for name in LEARNERS}
    assert {name for name, way in ways.items() if not way} == {"char_rnn", "word_vectors"}
    assert ways["ratings_net"] == ways["matrix_factorization"] == "ratings"
    assert (ways["sentiment"], ways["image_head"]) == ("texts", "images")

    class Mine(get_learner("sentiment")):  # type: ignore[misc]
        """A family of the user's that takes what its base takes."""

    assert way_of(Mine) == "texts"


def test_the_command(
    classes: Any, run_command: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", lambda *_: classes)
    rows = tmp_path / "rows.csv"
    pd.DataFrame(CENTRES, columns=["x", "y"]).to_csv(rows, index=False)
    code, output, errors = run_command("predict", "x", str(rows))
    assert (code, errors) == (0, "")
    table = pd.read_fwf(io.StringIO(output))
    assert table["predicted"].tolist() == [0, 1, 2]
    code, output, _ = run_command("predict", "x", str(rows), "--json")
    assert [each["predicted"] for each in json.loads(output)] == [0, 1, 2]
    assert set(json.loads(output)[0]) == {"source", "predicted", "p_0", "p_1", "p_2"}
    for arguments, message in (
        ((), "needs inputs, e.g. `raysweep predict RUN rows.csv`"),
        (("--user", "3"), "--user is for runs of another kind"),
        (("gone.csv",), "there is no file gone.csv"),
    ):
        code, output, errors = run_command("predict", "x", *arguments)
        assert (code, output) == (2, "")
        assert message in errors


def test_a_learner_that_cannot_be_asked_is_told_how(
    run_command: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(Classes)
    run.request.learner, run.request.task = raysweep.Learner, "mine.py:Net"
    monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", lambda *_: run)
    code, _, errors = run_command("predict", "x", "rows.csv")
    assert code == 2
    assert "predicts nothing; give its class a method predict(self, inputs)" in errors
