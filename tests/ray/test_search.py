"""Searches under real Ray, in one session."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun, open_run
from raysweep.cluster.search.confirm import confirm_run
from raysweep.cluster.search.run import SearchResult, run_search
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.trainables.dataset import Dataset
from tests.helpers import read_table

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(180)]


def request_for(ratings_csv: Path, **changes: Any) -> SearchRequest:
    values: dict[str, Any] = {
        "task": "matrix_factorization",
        "spaces": ("l2", "embedding_size"),
        "settings": {"epochs": 4, "batch_size": 64},
        "data": {"dataset": str(ratings_csv)},
        "searcher": "random",
        "num_samples": 5,
    }
    return SearchRequest(**{**values, **changes}).checked()


def run(
    folder: Path, request: SearchRequest, dataset: Dataset | None = None, **options: Any
) -> SearchResult:
    options = {"pack": "off", "quiet": True, **options}
    return run_search(request, Storage(folder), RunOptions(**options), dataset=dataset)


@pytest.fixture(scope="module")
def finished(
    ray: object, ratings_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SearchRequest]:
    folder = tmp_path_factory.mktemp("run")
    request = request_for(ratings_csv)
    run(folder, request)
    return folder, request


def test_every_trial_is_in_the_table_once_and_the_default_is_first(
    finished: tuple[Path, SearchRequest],
) -> None:
    folder, request = finished
    table = read_table(folder)
    assert table["trial"].tolist() == [0, 1, 2, 3, 4]
    assert set(table["status"]) <= {"finished", "stopped"}
    default = request.config({}).to_dict()
    row = table.iloc[0]
    assert all(row[f"config.{k}"] == v for k, v in default.items() if not isinstance(v, list))
    assert row["status"] == "finished"


def test_the_best_folder_holds_the_best_trials_best_epoch(
    finished: tuple[Path, SearchRequest],
) -> None:
    folder, _ = finished
    saved = open_run(str(folder), "")
    best = saved.ledger.ranked()[0].best("val_rmse", "min")
    assert best is not None
    model = saved.best_model()
    assert model.epoch == best["epoch"]
    assert model.validate()["val_rmse"] == best["val_rmse"]


def test_a_warm_start_tries_the_earlier_best_after_the_default_and_resumes(
    finished: tuple[Path, SearchRequest], ratings_csv: Path, tmp_path: Path
) -> None:
    folder, request = finished
    best = next(t for t in open_run(str(folder), "").ledger.ranked() if t.params)
    warm = request_for(ratings_csv, warm_start=(str(folder),), searcher="tpe", num_samples=2)
    result = run(tmp_path / "warm", warm)
    assert [t.config for t in result.ledger] == [request.config({}).to_dict(), best.config]
    more = run(tmp_path / "warm", dataclasses.replace(warm, num_samples=3))
    assert [t.config for t in more.ledger][:2] == [t.config for t in result.ledger]
    assert open_run(str(tmp_path / "warm"), "").request.warm_start == (str(folder),)


def test_packed_trials_have_the_table_of_single_ones_also_resumed_without_packs(
    ratings_csv: Path, tmp_path: Path
) -> None:
    settings = {"epochs": 4, "batch_size": 64, "num_factors": 4}
    request = request_for(ratings_csv, spaces=("l2",), settings=settings, num_samples=8)
    run(tmp_path / "single", request)
    run(tmp_path / "packed", dataclasses.replace(request, num_samples=5), pack="3")
    run(tmp_path / "packed", request, pack="auto")
    one, other = (read_table(tmp_path / name) for name in ("single", "packed"))
    assert set(one["status"]) == {"finished", "stopped"}
    pd.testing.assert_frame_equal(one, other, rtol=1e-3)
    for index in range(8):
        folders = [tmp_path / name / "trials" / f"{index:05d}" for name in ("single", "packed")]
        kinds = [sorted(p.name.split(".")[0] for p in folder.iterdir()) for folder in folders]
        assert kinds[0] == kinds[1] == ["best", "events", "last"]


def test_the_projector_shows_the_best_models_films_and_users(
    finished: tuple[Path, SearchRequest],
) -> None:
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    folder, _ = finished
    config = (folder / "best" / "projector_config.pbtxt").read_text()
    assert all(f'"{name}.metadata.tsv"' in config for name in ("items", "users"))
    saved = open_run(str(folder), "")
    embeddings = saved.best_model().embeddings(saved.dataset.info)
    lines = (folder / "best" / "items.metadata.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == embeddings["items"].labels
    rows = (folder / "best" / "items.tensors.tsv").read_text().splitlines()
    vectors = np.array([row.split("\t") for row in rows], np.float32)
    assert np.array_equal(vectors, embeddings["items"].vectors)
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload().Runs()
    assert "best" in runs, "TensorBoard looks into folders with an event file only"


def test_the_same_request_again_changes_nothing(finished: tuple[Path, SearchRequest]) -> None:
    folder, request = finished
    before = (folder / "ledger.jsonl").read_bytes()
    assert run(folder, request).complete
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_a_changed_request_is_refused_with_the_difference(
    finished: tuple[Path, SearchRequest], ratings_csv: Path
) -> None:
    folder, _ = finished
    with pytest.raises(UserError, match=r"seed: 0 there, 1 now"):
        run(folder, request_for(ratings_csv, seed=1))


def test_tensorboard_has_one_hparams_row_a_trial_with_its_best(
    finished: tuple[Path, SearchRequest],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    folder, _ = finished
    saved = open_run(str(folder), "")
    for trial in saved.ledger:
        events = EventAccumulator(str(folder / f"trials/{trial.index:05d}")).Reload()
        curve = [e.value for e in events.Scalars("validation/rmse")]
        assert curve == pytest.approx([r["val_rmse"] for r in trial.history], rel=1e-6)
        (best,) = events.Scalars("best/val_rmse")
        assert best.value == pytest.approx(min(curve))
        content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        info = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        assert info.hparams["num_factors"].number_value == trial.config["num_factors"]
        assert info.hparams["biases"].bool_value is True


def test_a_larger_num_samples_extends_the_search(
    finished: tuple[Path, SearchRequest], tmp_path: Path, ratings_csv: Path
) -> None:
    folder, _ = finished
    run(tmp_path, request_for(ratings_csv, num_samples=3))
    run(tmp_path, request_for(ratings_csv, num_samples=5))
    pd.testing.assert_frame_equal(read_table(tmp_path), read_table(folder))


def test_a_failed_trial_is_shown_and_the_others_go_on(tmp_path: Path, ratings_csv: Path) -> None:
    diverging = {"optimizer": "sgd", "learning_rate": 10.0}
    request = request_for(
        ratings_csv, spaces=(), points=(diverging, {"num_factors": 8}), num_samples=3
    )
    result = run(tmp_path, request)
    assert [t.status for t in result.ledger] == ["finished", "failed", "finished"]
    assert "learning_rate" in result.ledger.trials[1].error
    assert "Traceback" in (tmp_path / "trials/00001/error.txt").read_text()


def test_an_exhausted_time_budget_pauses_and_the_same_call_goes_on(
    finished: tuple[Path, SearchRequest], tmp_path: Path
) -> None:
    folder, request = finished
    first = run(tmp_path, request, time_budget=0.0)
    assert not first.complete
    assert run(tmp_path, request).complete
    pd.testing.assert_frame_equal(read_table(tmp_path), read_table(folder))


@pytest.mark.parametrize("scheduler", ["hyperband", "median", "pbt", "none"])
def test_rays_schedulers_bring_every_trial_to_an_end(
    scheduler: str, tmp_path: Path, ratings_csv: Path
) -> None:
    request = request_for(ratings_csv, scheduler=scheduler, spaces=("l2",), num_samples=4)
    result = run(tmp_path, request)
    assert result.complete
    assert len(result.ledger) == 4
    assert {t.status for t in result.ledger} <= {"finished", "stopped"}


@pytest.mark.parametrize("searcher", ["tpe", "grid"])
def test_searchers_try_no_configuration_twice(
    searcher: str, tmp_path: Path, ratings_csv: Path
) -> None:
    request = request_for(
        ratings_csv, task="ratings_net", spaces=("dropout_placement",), searcher=searcher
    )
    result = run(tmp_path, request)
    configs = [json.dumps(t.config, sort_keys=True) for t in result.ledger]
    assert len(configs) == len(set(configs)) == 5


def test_a_trial_that_no_node_can_run_is_refused(tmp_path: Path, ratings_csv: Path) -> None:
    with pytest.raises(UserError, match="no node has that much"):
        run(tmp_path, request_for(ratings_csv, cpus=64))


def test_two_commands_on_one_run_are_refused(tmp_path: Path, ratings_csv: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="under way"):
        run(tmp_path, request_for(ratings_csv))


def test_confirm_opens_the_test_set_once_and_says_so(
    finished: tuple[Path, SearchRequest],
) -> None:
    folder, _ = finished
    saved: SavedRun = open_run(str(folder), "")
    first = confirm_run(saved, top=1, num_seeds=2, options=RunOptions(quiet=True))
    again = confirm_run(
        open_run(str(folder), ""), top=1, num_seeds=2, options=RunOptions(quiet=True)
    )
    assert first.num_openings == again.num_openings == 1
    assert first.rows == again.rows
    assert first.rows[0]["label"] == "default"
    for row in first.rows:
        values = row["test_rmse"]["values"]
        assert len(set(values)) == 2, "fresh seeds give different models"
        assert min(values) <= row["test_rmse"]["mean"] <= max(values)
    other = confirm_run(
        open_run(str(folder), ""), top=1, num_seeds=3, options=RunOptions(quiet=True)
    )
    assert other.num_openings == 2


def test_retrained_trials_have_curves_in_tensorboard_and_no_row_among_the_searchs(
    finished: tuple[Path, SearchRequest],
) -> None:
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    folder, request = finished
    confirm_run(open_run(str(folder), ""), top=1, num_seeds=2, options=RunOptions(quiet=True))
    events = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    rows = set(events.PluginRunToTagToContent("hparams"))
    assert rows == {f"trials/{k:05d}" for k in range(request.num_samples or 0)}
    curves = set(events.PluginRunToTagToContent("scalars"))
    assert any(name.startswith("confirm/") for name in curves)


def test_a_refit_trains_on_validation_examples_too_and_counts_as_an_opening(
    finished: tuple[Path, SearchRequest],
) -> None:
    folder, request = finished
    plain = confirm_run(
        open_run(str(folder), ""), top=1, num_seeds=2, options=RunOptions(quiet=True)
    )
    refit = confirm_run(
        open_run(str(folder), ""), top=1, num_seeds=2, refit=True, options=RunOptions(quiet=True)
    )
    assert refit.num_openings == plain.num_openings + 1
    assert "val_rmse" in plain.rows[0]
    assert "val_rmse" not in refit.rows[0], "what was trained on says nothing"
    assert plain.rows[0]["test_rmse"]["values"] != refit.rows[0]["test_rmse"]["values"]
    log = json.loads((folder / "confirm.json").read_text())
    assert [entry["refit"] for entry in log["test_set_openings"]][-1] is True
    kept = Storage(folder) / f"confirm/{_only_refit(folder)}"
    retrained = Ledger(kept, request.metric, request.mode).trials
    original = Ledger(Storage(folder), request.metric, request.mode)
    candidates = [original.trials[0], *(t for t in original.ranked()[:1] if t.index)]
    for trial, candidate in zip(retrained[::2], candidates, strict=True):
        best = candidate.best(request.metric, request.mode)
        assert best is not None
        assert trial.epoch == trial.config["stop_after"] == best["epoch"]


def _only_refit(folder: Path) -> str:
    (name,) = (f.name for f in (folder / "confirm").iterdir() if f.name.endswith("-refit"))
    return name


def test_answers_speak_of_films_and_unknown_ids_are_refused(
    finished: tuple[Path, SearchRequest],
) -> None:
    from raysweep.cluster.models import ratings as ask

    saved = open_run(str(finished[0]), "")
    rated = saved.dataset.info.interactions
    user = saved.dataset.info.user_ids[0]
    seen = {saved.dataset.info.item_ids[i] for i in rated.item[rated.user == 0]}
    table = ask.recommend(saved, user, top=100)
    assert set(table["item"]).isdisjoint(seen)
    assert len(table) == saved.dataset.info.num_items - len(seen)
    assert table["predicted"].is_monotonic_decreasing
    assert table["title"].str.startswith("Film ").all()
    answer = ask.predict(saved, user, next(iter(seen)))
    assert 1 <= answer["predicted"] <= 5
    assert answer["given"] in {1, 2, 3, 4, 5}
    with pytest.raises(UserError, match="has no user 'nobody'"):
        ask.predict(saved, "nobody", "1")
    best, worst = ask.rank(saved, top=3, most_rated=20)
    assert best["bias"].min() > worst["bias"].max()


def test_changed_data_are_noticed(
    finished: tuple[Path, SearchRequest], ratings_csv: Path, tmp_path: Path
) -> None:
    shorter = tmp_path / "ratings.csv"
    shorter.write_text("\n".join(ratings_csv.read_text().splitlines()[:-5]) + "\n")
    folder, request = finished
    changed = dataclasses.replace(request, data={**request.data, "dataset": str(shorter)})
    with pytest.raises(UserError, match=r"the data themselves .* changed"):
        run(folder, changed)
