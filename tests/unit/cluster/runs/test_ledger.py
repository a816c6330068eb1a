"""The ledger: what was written is there after a crash, and what is damaged is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raysweep.cluster.runs.ledger import FAILED, FINISHED, RUNNING, STOPPED, Ledger
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

FILE = "ledger.jsonl"


def open_ledger(folder: Path, mode: str = "min") -> Ledger:
    return Ledger(Storage(folder), "val", mode)


def fill(ledger: Ledger) -> Ledger:
    """Trial 0 finished, 1 stopped, 2 failed, 3 running, 4 without a result."""
    for x in range(5):
        ledger.add({"x": x} if x else {}, {"x": x, "sizes": (x, 1), "word": f"é{x}"})
    for index, values in enumerate([[3.0, 1.0, 2.0], [4.0], [0.5], [2.5, 2.0]]):
        for epoch, value in enumerate(values, start=1):
            result = {"epoch": epoch, "val": value, "other": -value, "time_epoch_s": 0.5}
            assert ledger.result(index, result)
    ledger.end(0, FINISHED)
    ledger.end(1, STOPPED)
    ledger.end(2, FAILED, "RuntimeError: no")
    return ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return fill(open_ledger(tmp_path))


def content(ledger: Ledger) -> Any:
    return json.loads(json.dumps([vars(t) for t in ledger]))


def test_a_new_ledger_is_empty_and_writes_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    assert len(ledger) == 0
    assert ledger.ranked() == ledger.unfinished() == []
    assert list(tmp_path.iterdir()) == []


def test_a_reloaded_ledger_is_equal(ledger: Ledger, tmp_path: Path) -> None:
    again = open_ledger(tmp_path)
    assert content(again) == content(ledger)
    assert [t.status for t in again] == [FINISHED, STOPPED, FAILED, RUNNING, RUNNING]
    assert again.trials[2].error == "RuntimeError: no"
    assert [t.index for t in again.ranked()] == [t.index for t in ledger.ranked()]
    assert again.table().equals(ledger.table())


def test_a_reloaded_ledger_goes_on_where_it_was(ledger: Ledger, tmp_path: Path) -> None:
    again = open_ledger(tmp_path)
    assert again.add({"x": 9}, {"x": 9}).index == 5
    assert again.result(3, {"epoch": 3, "val": 1.5})
    assert content(open_ledger(tmp_path)) == content(again)


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add({"x": 0.1 + 0.2}, {"x": 0.1 + 0.2})
    ledger.result(0, {"epoch": 1, "val": 1 / 3})
    again = open_ledger(tmp_path).trials[0]
    assert (again.params["x"], again.history[0]["val"]) == (0.1 + 0.2, 1 / 3)


def test_a_crash_at_any_byte_loses_at_most_the_last_line(ledger: Ledger, tmp_path: Path) -> None:
    """Whatever the length at which writing broke off, the ledger opens, takes more, opens again."""
    path = tmp_path / FILE
    blob = path.read_bytes()
    lines = blob.splitlines(keepends=True)
    start = len(blob) - len(lines[-1]) - len(lines[-2])
    for length in range(start, len(blob) + 1):
        path.write_bytes(blob[:length])
        opened = open_ledger(tmp_path)
        assert len(opened) == 5
        opened.add({"x": 77}, {"x": 77})
        again = open_ledger(tmp_path)
        assert content(again) == content(opened), f"cut after {length} of {len(blob)} bytes"
        assert again.has({"x": 77})


def test_a_last_line_cut_short_is_dropped_and_the_file_repaired(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"index": 3, "event": "res')
    assert content(open_ledger(tmp_path)) == content(ledger)
    assert path.read_bytes() == whole


def test_a_last_line_cut_in_a_letter_is_dropped(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"index": 3, "word": "\xc3')
    assert content(open_ledger(tmp_path)) == content(ledger)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line", ['{"index": 0, "ev', "", "null", "{}", '{"index": 99, "event": "end"}', "17"]
)
def test_a_damaged_middle_line_is_named_by_number(
    ledger: Ledger, tmp_path: Path, line: str
) -> None:
    path = tmp_path / FILE
    lines = path.read_text().splitlines()
    lines.insert(5, line)
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(UserError, match="line 6") as error:
        open_ledger(tmp_path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_the_fix_that_a_damaged_line_suggests_works(ledger: Ledger, tmp_path: Path) -> None:
    """Whichever line is damaged: the file is cut off before the line that the message names."""
    path = tmp_path / FILE
    lines = path.read_text().splitlines(keepends=True)
    expected = content(ledger)
    for number in range(len(lines)):
        path.write_text("".join([*lines[:number], "damaged\n", *lines[number + 1 :]]))
        with pytest.raises(UserError, match="cut the file off before that line") as error:
            open_ledger(tmp_path)
        named = int(re.findall(r"line (\d+) is damaged", str(error.value))[0])
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: named - 1]))
        fixed = open_ledger(tmp_path)
        assert path.read_text() == "".join(lines[:number])
        for trial, whole in zip(content(fixed), expected, strict=False):
            assert trial["config"] == whole["config"], number
            assert trial["history"] == whole["history"][: len(trial["history"])], number
        assert fixed.add({"x": 77}, {"x": 77}).index == len(fixed) - 1
        assert content(open_ledger(tmp_path)) == content(fixed), number


def test_a_line_that_was_deleted_instead_mixes_no_trials_up(ledger: Ledger, tmp_path: Path) -> None:
    """Results may be missing then; those of one trial never go to another."""
    path = tmp_path / FILE
    lines = path.read_text().splitlines(keepends=True)
    expected = content(ledger)
    num_refused = 0
    for number in range(len(lines)):
        path.write_text("".join(lines[:number] + lines[number + 1 :]))
        try:
            fixed = open_ledger(tmp_path)
        except UserError:
            num_refused += 1
            continue
        for trial, whole in zip(content(fixed), expected, strict=False):
            assert trial["config"] == whole["config"], number
            assert all(result in whole["history"] for result in trial["history"]), number
    assert num_refused == 4, "the lines that begin a trial, but the last trial's"


def test_an_epoch_that_is_known_is_ignored(ledger: Ledger, tmp_path: Path) -> None:
    before = (tmp_path / FILE).read_bytes()
    for epoch in (1, 2):
        assert not ledger.result(3, {"epoch": epoch, "val": -1.0})
    assert ledger.trials[3].history[-1]["val"] == 2.0
    assert (tmp_path / FILE).read_bytes() == before
    assert not open_ledger(tmp_path).result(3, {"epoch": 2, "val": -1.0})


def test_the_best_epoch_is_the_first_of_equals(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add({}, {})
    for epoch, value in enumerate([2.0, 1.0, 1.0, 3.0, 3.0], start=1):
        ledger.result(0, {"epoch": epoch, "val": value})
    trial = ledger.trials[0]
    assert (trial.best("val", "min") or {})["epoch"] == 2
    assert (trial.best("val", "max") or {})["epoch"] == 4
    assert trial.best("unknown", "min") is None


@pytest.mark.parametrize(("mode", "order"), [("min", [1, 3, 0, 2]), ("max", [2, 0, 1, 3])])
def test_trials_rank_by_their_best_and_equals_by_index(
    tmp_path: Path, mode: str, order: list[int]
) -> None:
    ledger = open_ledger(tmp_path, mode)
    for index, values in enumerate([[2.0, 2.0], [1.0], [3.0, 3.0], [1.0], []]):
        ledger.add({}, {"x": index})
        for epoch, value in enumerate(values, start=1):
            ledger.result(index, {"epoch": epoch, "val": value})
    assert [t.index for t in ledger.ranked()] == order


def test_ranks_need_a_result_but_no_good_end(ledger: Ledger) -> None:
    assert [t.index for t in ledger.ranked()] == [2, 0, 3, 1]


def test_unfinished_are_the_running_ones(ledger: Ledger) -> None:
    assert [t.index for t in ledger.unfinished()] == [3, 4]


def test_known_configurations_are_found_in_any_order_of_fields(
    ledger: Ledger, tmp_path: Path
) -> None:
    for one in (ledger, open_ledger(tmp_path)):
        assert one.has({"word": "é3", "sizes": [3, 1], "x": 3})
        assert one.has({"x": 3, "sizes": (3, 1), "word": "é3"})
        assert not one.has({"x": 3, "sizes": (3, 2), "word": "é3"})
        assert not one.has({"x": 3})


def test_a_reconfigured_trial_has_the_new_configuration(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reconfigure(3, {"x": 33})
    assert open_ledger(tmp_path).trials[3].config == {"x": 33}
    assert open_ledger(tmp_path).trials[3].params == {"x": 3}


def test_the_table_has_a_row_a_trial_with_best_last_and_every_field(ledger: Ledger) -> None:
    table = ledger.table().set_index("trial")
    assert list(table.index) == [0, 1, 2, 3, 4]
    expected = {
        "status",
        "epochs",
        "best_epoch",
        "val",
        "other",
        "last_val",
        "last_other",
        "time_total_s",
        "curve",
        "param.x",
        "error",
        "config.x",
        "config.sizes",
        "config.word",
    }
    assert set(table.columns) == expected
    first = table.loc[0].to_dict()
    assert first["status"] == FINISHED
    assert (first["epochs"], first["best_epoch"], first["time_total_s"]) == (3, 2, 1.5)
    assert (first["val"], first["other"], first["last_val"]) == (1.0, -1.0, 2.0)
    assert (first["config.x"], first["config.sizes"], first["config.word"]) == (0, "0,1", "é0")
    assert table.loc[2, "error"] == "RuntimeError: no"
    assert table.loc[4, "epochs"] == 0


def test_the_table_of_an_empty_ledger_is_empty(tmp_path: Path) -> None:
    assert len(open_ledger(tmp_path).table()) == 0


def test_the_table_can_be_written_as_parquet(ledger: Ledger, tmp_path: Path) -> None:
    table = ledger.table()
    table.to_parquet(tmp_path / "t.parquet", index=False)
    again = pd.read_parquet(tmp_path / "t.parquet")
    assert list(again.columns) == list(table.columns)
    assert again["val"].equals(table["val"])
    assert [list(curve) for curve in again["curve"]] == list(table["curve"])


def test_an_object_store_gets_the_whole_ledger_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Storage("mock://bucket/run")
    storage._fs.create_dir("run")  # the stand-in has real folders, an object store has none
    ledger = fill(Ledger(storage, "val", "min"))
    assert not storage.exists("ledger.jsonl"), "2,000 trials would be uploaded 2,000 times"
    ledger.flush()
    assert content(Ledger(storage, "val", "min")) == content(ledger)
    again = Ledger(storage, "val", "min")
    again.result(3, {"epoch": 3, "val": 0.1})
    monkeypatch.setattr("raysweep.cluster.runs.ledger._UPLOAD_PERIOD_S", 0.0)
    again.end(3, FINISHED)
    assert content(Ledger(storage, "val", "min")) == content(again)
