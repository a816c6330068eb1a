from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.search_quality.lcbench import Surrogate
from benchmarks.search_quality.norms import norms
from benchmarks.search_quality.tasks import NORMS, TUNING, Source, TableTask
from raysweep.core.errors import UserError


def line(*places: float) -> np.ndarray:
    """Rows of two columns, of which the first one differs."""
    return np.array([[place, 0.0] for place in places])


def test_the_regret_is_the_share_of_the_range_that_is_missing() -> None:
    # First epochs 3, 2 and 9, the best of all 0.5; what was before training does not count.
    losses = np.array([[0.1, 3.0, 0.5], [0.1, 2.0, 1.0], [0.1, 9.0, math.nan]])
    task = TableTask("t", line(0, 1, 2), losses)
    assert (task.low, task.high, task.max_t) == (-3.0, -0.5, 2)
    assert task.regret(-0.5) == 0
    assert task.regret(-1.75) == pytest.approx(0.5)
    assert task.regret(-3.0) == task.regret(-100.0) == task.regret(math.nan) == 1
    assert task.regret(0.0) == 0


def test_a_search_is_given_the_nearest_row_that_it_has_not_had() -> None:
    losses = np.array([[0, 1.0], [0, 2.0], [0, 3.0]])
    task = TableTask("t", line(0, 0.4, 1), losses)
    train = task.trainer()
    first, second, third = (train({"x0": 0.45, "x1": 0.0}) for _ in range(3))
    assert [c.params["x0"] for c in (first, second, third)] == pytest.approx([0.4, 0.0, 1.0])
    assert [float(c.values[0]) for c in (first, second, third)] == [-2, -1, -3]
    # Another search has them all; and so has this one, once it had them all.
    assert task.trainer()({"x0": 0.45, "x1": 0.0}).params == first.params
    assert train({"x0": 0.45, "x1": 0.0}).params == first.params


def test_a_step_along_the_first_of_tasksets_coordinates_counts_four_times() -> None:
    rows = np.full((4, 8), 1e-2)
    rows[1, 0] = rows[2, 7] = 1e-1
    rows[3] = 1e-4  # so that every column has the same range
    rows[:, 1:3] = 1 - rows[:, 1:3]
    task = TableTask("t", rows, np.ones((4, 2)))
    assert task.unit.min() == 0
    assert task.unit.max() == 1
    between = dict(zip((f"x{k}" for k in range(8)), task.unit[0], strict=True))
    between["x0"] = (2 * task.unit[0, 0] + task.unit[1, 0]) / 3
    between["x7"] = (task.unit[0, 7] + 3 * task.unit[2, 7]) / 4
    train = task.trainer()
    order = [train(between).params for _ in range(3)]
    # The last column is three quarters of the way to row 2, but the first one decides.
    assert [p["x0"] for p in order] == pytest.approx([task.unit[k, 0] for k in (0, 2, 1)])


def test_tasks_are_chosen_by_what_they_are_for(table: Path) -> None:
    source = Source.at(table)
    assert source.chosen(None) == source.chosen(["test"]) == ["first", "second"]
    assert source.chosen(["second"]) == ["second"]
    assert source.chosen(["tuning"]) == []
    assert len(TUNING) == 18


@pytest.mark.parametrize("name", ["missing.npz", "folder", "curves.csv"])
def test_a_source_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=name):
        Source.at(tmp_path / name)


def test_a_file_without_tasks_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(UserError, match="no array whose name ends with /X"):
        Source.at(tmp_path / "other.npz").task_names()


@pytest.fixture
def lcbench(tmp_path: Path) -> Path:
    """A folder like LCBench's: accuracy is 10 · code + epoch + max_dropout, time 2 · epoch."""
    folder = tmp_path / "lcbench"
    folder.mkdir()
    weights = np.zeros((8, 6), np.float32)
    weights[0, :2] = 2, 1
    weights[7, 1] = 1
    code = np.array([[0, 10, 0, 0, 0, 0]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x_cont", "weights"], ["a"]),
            helper.make_node("Cast", ["x_cat"], ["b"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["b", "code"], ["c"]),
            helper.make_node("Add", ["a", "c"], ["output"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info("x_cat", TensorProto.INT32, ["n", 1]),
            helper.make_tensor_value_info("x_cont", TensorProto.FLOAT, ["n", 8]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(code, "code")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    ranges = {"batch_size": (16, 512), "num_layers": (1, 5), "max_units": (64, 1024)}
    floats = {"learning_rate": (1e-4, 0.1), "momentum": (0.1, 0.9), "weight_decay": (1e-5, 0.1)}
    entries: list[dict[str, object]] = [{"name": "OpenML_task_id", "choices": ["7", "3"]}]
    for name, (low, high) in (ranges | floats | {"max_dropout": (0.0, 1.0)}).items():
        kind = "uniform_int" if name in ranges else "uniform_float"
        log = name in ("batch_size", "max_units", "learning_rate")
        entries.append({"name": name, "type": kind, "lower": low, "upper": high, "log": log})
    (folder / "config_space.json").write_text(json.dumps({"hyperparameters": entries}))
    (folder / "encoding.json").write_text(json.dumps({"OpenML_task_id": {"3": 4, "7": 5}}))
    return folder


def test_lcbench_is_asked_for_the_curve_of_a_configuration(lcbench: Path) -> None:
    (lcbench / "norms.json").write_text(json.dumps({"lc00": [50.0, 103.0], "lc01": [40.0, 93.0]}))
    source = Source.at(lcbench)
    assert source.task_names() == ["lc00", "lc01"]
    task = source.load("lc01")
    assert (task.low, task.high, task.max_t) == (40, 93, 52)
    fields = {p.name: p.low for p in task.space.parameters} | {"max_dropout": 0.25}
    curve = task.trainer()(fields)
    # The second task is OpenML's 3, whose code is 4.
    assert curve.values == pytest.approx(40.25 + np.arange(1, 53))
    assert curve.seconds == pytest.approx(np.full(52, 2.0))


def test_norms_are_a_median_first_epoch_and_the_best_there_is(lcbench: Path) -> None:
    low, high = norms(Surrogate(lcbench), 0)
    assert low == pytest.approx(50 + 1 + 0.5, abs=0.06)
    assert high == pytest.approx(50 + 52 + 1, abs=0.005)


def test_the_norms_that_are_kept_have_a_range() -> None:
    kept = json.loads(NORMS.read_text())
    assert sorted(kept) == [f"lc{number:02d}" for number in range(34)]
    assert all(0 <= low < high - 30 < high <= 100 for low, high in kept.values())
