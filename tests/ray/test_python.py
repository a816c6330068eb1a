"""raysweep from Python: the example runs, and results are data frames."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

import raysweep

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(180)]
EXAMPLE = Path(__file__).resolve().parents[2] / "docs/examples" / "search_ratings.py"


@pytest.fixture(scope="module")
def folder(ray: object, ratings_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, run on a small table; its runs are in this folder."""
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    root = tmp_path_factory.mktemp("python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        example.main(str(ratings_csv), num_samples=13, epochs=2)
    return root


def test_the_example_leaves_a_run_with_a_report(folder: Path) -> None:
    assert (folder / "runs/example/report/report.html").exists()
    run = raysweep.load_run("example", storage=folder / "runs")
    assert run.complete
    assert len(run.trials) == 13


def test_results_are_data_frames(folder: Path) -> None:
    run = raysweep.load_run("example", storage=folder / "runs")
    stored = pd.read_parquet(folder / "runs/example/trials.parquet")
    pd.testing.assert_frame_equal(run.trials, stored)
    assert run.best["val_rmse"] == stored["val_rmse"].min()
    assert run.best_config["num_factors"] == run.best["config.num_factors"]
    curves = run.curves
    assert set(curves.columns) >= {"trial", "epoch", "val_rmse", "train_loss"}
    assert len(curves) == stored["epochs"].sum()
    effects = run.effects()
    assert set(effects["field"]) == {"embedding_l2", "bias_l2", "num_factors"}
    assert (effects["half_width_95"] >= 0).all()


def test_predictions_are_in_the_order_of_the_questions(folder: Path, ratings_csv: Path) -> None:
    run = raysweep.load_run("example", storage=folder / "runs")
    ratings = pd.read_csv(ratings_csv)
    pairs = list(zip(ratings["user"][:3], ratings["item"][:3], strict=True))
    answers = raysweep.predict(run, pairs)
    assert answers["user"].tolist() == [str(u) for u, _ in pairs]
    assert answers["given"].tolist() == ratings["rating"][:3].tolist()
    assert answers["predicted"].between(1, 5).all()
    with pytest.raises(raysweep.UserError, match="pairs"):
        raysweep.predict(run, ["a text"])
    with pytest.raises(raysweep.UserError, match="empty"):
        raysweep.predict(run, [])


def test_the_same_arguments_resume_and_confirm_gives_a_row_a_seed(
    folder: Path, ratings_csv: Path
) -> None:
    run = raysweep.tune(
        "matrix_factorization",
        ["l2", "embedding_size"],
        num_samples=13,
        epochs=2,
        data={"dataset": str(ratings_csv)},
        name="example",
        storage=folder / "runs",
    )
    assert len(run.trials) == 13
    confirmed = run.confirm(num_seeds=2)
    test = confirmed[confirmed["metric"] == "test_rmse"]
    assert len(test) == 2 * test["configuration"].nunique()


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(raysweep.UserError, match="no run is called"):
        raysweep.load_run("nothing", storage=tmp_path)
