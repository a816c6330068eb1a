"""What was asked for: refused before anything starts, and recognised when asked for again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.cluster.runs.experiment import EXPERIMENT, read_experiment, write_experiment
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.options import check_name
from raysweep.cluster.runs.request import SCHEDULERS, SEARCHERS, SearchRequest
from raysweep.cluster.runs.saved_run import open_run
from raysweep.cluster.search.confirm import mean_interval
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.search_spaces import get_space, sample
from raysweep.trainables import get_learner

TASK = "matrix_factorization"


def request(**fields: Any) -> SearchRequest:
    return SearchRequest(**{"task": TASK, "spaces": ("l2",), **fields})


def refusal(**fields: Any) -> str:
    with pytest.raises(UserError) as error:
        request(**fields).checked()
    return str(error.value)


def searched_field(space: str = "l2") -> str:
    config = get_learner(TASK).config_class()
    return next(iter(sample(get_space(space).bind(TASK, config), 0)[1]))


def test_a_checked_request_has_every_default_filled_in() -> None:
    checked = request(seed=4, settings={"epochs": "18"}).checked()
    assert checked.metric == next(iter(get_learner(TASK).metrics))
    assert checked.mode == "min"
    assert set(checked.settings) == set(get_learner(TASK).config_class.names())
    assert checked.settings["seed"] == 4
    assert checked.settings["epochs"] == 18
    assert 1 <= checked.grace_period < 18
    assert set(checked.data) == set(get_learner(TASK).data_class.names())


@pytest.mark.parametrize(
    ("epochs", "asha", "others"), [(1, 1, 1), (4, 1, 1), (8, 2, 2), (12, 3, 3), (96, 6, 24)]
)
def test_the_first_comparison_comes_after_three_epochs_or_later(
    epochs: int, asha: int, others: int
) -> None:
    asked = {"settings": {"epochs": epochs}}
    assert request(**asked).checked().grace_period == asha
    assert request(**asked, scheduler="median").checked().grace_period == others
    assert request(**asked, searcher="curves").checked().grace_period == 0


def test_a_request_without_a_space_is_one_configuration() -> None:
    checked = request(spaces=(), settings={"epochs": 3}).checked()
    assert checked.config({}).epochs == 3
    assert checked.grace_period == 1


def test_settings_say_more_than_the_search_about_the_seed() -> None:
    assert request(seed=4, settings={"seed": 9}).checked().settings["seed"] == 9


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": "matrix_factorisation"}, "did you mean 'matrix_factorization'?"),
        ({"spaces": ("embeding_size",)}, "did you mean 'embedding_size'?"),
        ({"settings": {"epoch": 3}}, "did you mean 'epochs'?"),
        ({"data": {"datset": "x"}}, "did you mean 'dataset'?"),
        ({"metric": "val_rms"}, "did you mean 'val_rmse'?"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(**fields)


def test_a_value_out_of_range_is_refused() -> None:
    assert "epochs=0 is too small" in refusal(settings={"epochs": 0})


def test_a_test_metric_is_refused() -> None:
    assert "must not see the test set" in refusal(metric="test_rmse")


def test_a_space_for_another_trainable_is_refused() -> None:
    assert "is not for matrix_factorization" in refusal(spaces=("dropout_placement",))


def test_a_fixed_field_that_is_searched_is_refused() -> None:
    name = searched_field()
    assert f"--set {name}=0.01 fixes a field" in refusal(settings={name: 0.01})
    assert f"--set {name}" in refusal(spaces=("embedding_size", "l2"), settings={name: 0.01})


def test_two_spaces_of_the_same_field_are_refused() -> None:
    assert "two of the spaces" in refusal(spaces=("l2", "l2"))


@pytest.mark.parametrize(("name", "known"), [("searcher", SEARCHERS), ("scheduler", SCHEDULERS)])
def test_an_unknown_searcher_or_scheduler_is_refused_with_the_known(
    name: str, known: tuple[str, ...]
) -> None:
    text = refusal(**{name: "nonsense"})
    assert f"--{name} nonsense" in text
    assert all(word in text for word in known)


def test_pbt_is_refused_where_no_field_may_change() -> None:
    assert "pbt changes learning_rate" in refusal(scheduler="pbt", spaces=("embedding_size",))
    for space in ("l2", "optimizer"):
        assert request(scheduler="pbt", spaces=(space,)).checked().scheduler == "pbt"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_samples", 0),
        ("cpus", 0),
        ("gpus", -1),
        ("seed", -1),
        ("grace_period", -1),
        ("reduction_factor", 1),
        ("cpus", float("nan")),
        ("reduction_factor", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused_by_option(name: str, value: float) -> None:
    assert f"--{name.replace('_', '-')} {value}" in refusal(**{name: value})


def test_a_search_without_end_is_refused() -> None:
    """Only a grid has an end of its own."""
    assert "num-samples" in refusal(num_samples=None, searcher="tpe")
    assert request(num_samples=None, searcher="grid").checked().num_samples is None


def test_the_number_of_trials_is_no_part_of_the_identity() -> None:
    one, more = (request(num_samples=n).checked() for n in (10, 50))
    assert one.identity() == more.identity()
    assert one.default_name() == more.default_name()


def test_a_default_said_aloud_is_the_same_request() -> None:
    default = get_learner(TASK).config_class().epochs
    explicit = request(settings={"epochs": str(default)}, metric="val_rmse").checked()
    assert explicit.default_name() == request().checked().default_name()


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"spaces": ("optimizer",)},
        {"spaces": ("l2", "embedding_size")},
        {"settings": {"epochs": 5}},
        {"data": {"split": "time"}},
        {"searcher": "random"},
        {"scheduler": "none"},
        {"metric": "val_mae"},
        {"grace_period": 5},
        {"reduction_factor": 4},
        {"task": "ratings_net"},
    ],
)
def test_another_request_has_another_name(fields: dict[str, Any]) -> None:
    name = request(**fields).checked().default_name()
    assert name != request().checked().default_name()
    assert check_name(name) == name


def test_the_name_says_what_is_searched() -> None:
    assert request().checked().default_name().startswith("matrix_factorization-l2-")
    assert "-train-" in request(spaces=()).checked().default_name()


def test_other_points_are_another_request() -> None:
    names = {
        request(spaces=(), points=points).checked().default_name()
        for points in [(), ({"seed": 1},), ({"seed": 2},)]
    }
    assert len(names) == 3


def test_the_experiment_file_holds_the_request_and_where_it_came_from(tmp_path: Path) -> None:
    checked = request(num_samples=9).checked()
    write_experiment(Storage(tmp_path), checked, "abc", "some ratings")
    record = yaml.safe_load((tmp_path / EXPERIMENT).read_text())
    assert record["request"] == checked.identity()
    assert record["num_samples"] == 9
    assert record["data_fingerprint"] == "abc"
    assert record["data_description"] == "some ratings"
    assert {"ray", "torch", "numpy"} <= set(record["versions"])
    assert {"created", "command", "git_commit", "python"} <= set(record)


def test_the_same_request_with_more_trials_is_taken(tmp_path: Path) -> None:
    write_experiment(Storage(tmp_path), request(num_samples=9).checked(), "abc", "")
    before = (tmp_path / EXPERIMENT).read_bytes()
    write_experiment(Storage(tmp_path), request(num_samples=9).checked(), "abc", "")
    assert (tmp_path / EXPERIMENT).read_bytes() == before
    write_experiment(Storage(tmp_path), request(num_samples=20).checked(), "abc", "")


def test_a_changed_request_is_refused_with_the_difference(tmp_path: Path) -> None:
    write_experiment(Storage(tmp_path), request(settings={"epochs": 4}).checked(), "abc", "")
    before = (tmp_path / EXPERIMENT).read_bytes()
    changed = request(settings={"epochs": 7}, searcher="random", grace_period=1).checked()
    with pytest.raises(UserError) as error:
        write_experiment(Storage(tmp_path), changed, "abc", "")
    text = str(error.value)
    assert "settings.epochs: 4 there, 7 now" in text
    assert "searcher: tpe there, random now" in text
    assert "settings.batch_size" not in text
    assert "--name" in text
    assert (tmp_path / EXPERIMENT).read_bytes() == before


def test_changed_data_are_refused(tmp_path: Path) -> None:
    write_experiment(Storage(tmp_path), request().checked(), "abc", "")
    with pytest.raises(UserError, match="the data themselves"):
        write_experiment(Storage(tmp_path), request().checked(), "abd", "")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        read_experiment(Storage(tmp_path))


@pytest.mark.parametrize("text", ["", "just words", "a: [1", "- 1\n- 2\n"])
def test_a_damaged_experiment_file_is_refused(tmp_path: Path, text: str) -> None:
    Storage(tmp_path).write(EXPERIMENT, text)
    with pytest.raises(UserError, match="not readable"):
        read_experiment(Storage(tmp_path))


@pytest.mark.parametrize("name", ["a", "l2-3", "A.b_c+d=1", "x" * 128])
def test_good_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".x", "-x", "a/b", "../a", "a b", "a\n", "é", "x" * 129, "s3://a", "~", "a\\b"],
)
def test_names_that_are_no_single_folder_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        check_name(name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    checked = request(num_samples=9, spaces=("l2", "embedding_size")).checked()
    for name in ("first", "second"):
        write_experiment(Storage(tmp_path / "runs" / name), checked, "abc", "")
    Ledger(Storage(tmp_path / "runs/first"), "val_rmse", "min").add({}, {"x": 1})
    return tmp_path / "runs"


def test_a_run_is_opened_by_name_and_by_folder(root: Path) -> None:
    for run in (open_run("first", str(root)), open_run(str(root / "first"), "elsewhere")):
        assert run.storage.local == root / "first"
        assert len(run.ledger) == 1
        assert run.fingerprint == "abc"


def test_an_opened_run_has_the_request_that_it_was_started_with(root: Path) -> None:
    expected = request(num_samples=9, spaces=("l2", "embedding_size")).checked()
    opened = open_run("first", str(root)).request
    assert opened == expected
    assert opened.identity() == expected.identity()
    assert opened.default_name() == expected.default_name()


def test_an_extended_run_is_opened_with_the_larger_number_of_trials(root: Path) -> None:
    more = request(num_samples=30, spaces=("l2", "embedding_size")).checked()
    write_experiment(Storage(root / "first"), more, "abc", "")
    assert open_run("first", str(root)).request.num_samples == 30


def test_a_misspelt_run_gets_the_nearest_name(root: Path) -> None:
    with pytest.raises(UserError, match=r"no run is called 'frist'; did you mean 'first'\?"):
        open_run("frist", str(root))


def test_a_run_like_no_other_gets_the_list(root: Path) -> None:
    with pytest.raises(UserError, match="known: first, second"):
        open_run("zzzzzz", str(root))


def test_without_runs_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no runs yet: start one with `raysweep tune`"):
        open_run("first", str(tmp_path))


def test_the_interval_is_students() -> None:
    # Mean 2, deviation 1, standard error 1/√3; t(0.975, 2) = 4.302653 from the tables.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / 3**0.5), rel=1e-6)
    # Deviation √2·0.05; t(0.975, 1) = 12.706205.
    assert mean_interval([0.9, 1.0]) == pytest.approx((0.95, 12.706205 * 0.05), rel=1e-6)


def test_the_interval_of_equal_values_is_nothing() -> None:
    assert mean_interval([2.5] * 4) == (2.5, 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"settings": {"embedding_source": "glove"}, "spaces": ()},
        {"settings": {"embedding_source": "glove"}, "spaces": ("l2",)},
        {"spaces": ("embedding_source",)},
    ],
)
def test_what_the_data_cannot_serve_is_refused_before_they_are_read(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="add --data vectors=glove"):
        SearchRequest(task="sentiment", **fields).checked()
    SearchRequest(task="sentiment", data={"vectors": "glove.6B"}, **fields).checked()


def test_ranges_are_searched_alone_or_beside_spaces() -> None:
    alone = request(spaces=(), search=("num_factors=16..64",), searcher="random").checked()
    assert alone.searches
    assert alone.default_name().startswith("matrix_factorization-search-")
    assert "search" not in request().identity()
    fields = sample(request(search=("num_factors=16..64",)).checked().suggest(), 0)[1]
    assert {"num_factors", "embedding_l2"} <= set(fields)


def test_a_range_that_clashes_is_refused() -> None:
    clash = refusal(search=("embedding_l2=0.1..0.2",))
    assert "two of the spaces" in clash
    assert "num_factors" in refusal(search=("num_factors=1..2",), settings={"num_factors": 8})
    assert "did you mean 'num_factors'" in refusal(search=("num_factor=1..2",))


def test_a_field_that_came_later_leaves_the_names_of_runs_as_they_were() -> None:
    """So that repeating a command goes on with the run that it began with an earlier version."""
    plain = request(spaces=("l2", "embedding_size")).checked()
    assert plain.settings["stop_patience"] is None
    before = {k: v for k, v in plain.settings.items() if k != "stop_patience"}
    assert dataclasses.replace(plain, settings=before).default_name() == plain.default_name()
    patient = request(spaces=("l2", "embedding_size"), settings={"stop_patience": 3}).checked()
    assert patient.default_name() != plain.default_name()
