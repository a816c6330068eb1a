"""The progress line, and the callback that keeps it."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from raysweep.cluster.runs.ledger import FINISHED, Ledger
from raysweep.cluster.runs.progress import Progress
from raysweep.cluster.search.deadline import Deadline
from raysweep.cluster.search.ledger_searcher import LedgerSearcher
from raysweep.cluster.search.proposers import ListProposer
from raysweep.cluster.search.recorder import RunRecorder
from raysweep.cluster.search.tune_callback import TuneCallback
from raysweep.core.storage import Storage


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(Storage(tmp_path), "val", "min")
    for index, value in enumerate([0.5, 0.4, 0.6]):
        ledger.add({}, {"a": index})
        ledger.result(index, {"epoch": 1, "val": value})
    ledger.end(0, FINISHED)
    ledger.end(1, FINISHED)
    return ledger


def test_off_a_terminal_a_line_says_how_far_and_how_good(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.progress._PERIOD_S", {True: 0.0, False: 0.0})
    Progress(5).update(ledger)
    line = capsys.readouterr().err
    assert line.startswith("2/5 trials")
    assert "best val 0.4000" in line
    assert "default 0.5000" in line
    assert "1 under way" in line


def test_the_first_epoch_is_shown_at_once_and_the_next_when_it_is_time(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(5)
    progress.update(ledger)
    ledger.result(2, {"epoch": 2, "val": 0.1})
    progress.update(ledger)
    (line,) = capsys.readouterr().err.splitlines()
    assert "best val 0.4000" in line


def test_what_another_tenth_of_the_budget_is_expected_to_bring(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.progress._PERIOD_S", {True: 0.0, False: 0.0})
    ledger.expect({"gain": 0.012345, "epochs": 3.0, "rows": 9})
    Progress(None, epochs=30).update(ledger)
    assert "0.012 expected of another tenth" in capsys.readouterr().err


def test_a_metric_that_says_nothing_is_left_out(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.progress._PERIOD_S", {True: 0.0, False: 0.0})
    Progress(5, show_metric=False).update(ledger)
    line = capsys.readouterr().err
    assert line.startswith("2/5 trials")
    assert "val" not in line


def test_quiet_prints_nothing(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.progress._PERIOD_S", {True: 0.0, False: 0.0})
    progress = Progress(5, quiet=True)
    progress.say("starting")
    progress.update(ledger)
    assert capsys.readouterr().err == ""


def test_ray_can_pickle_the_callback_while_the_line_is_live(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress(5)
    progress.say("starting Ray …")
    try:
        searcher = LedgerSearcher(ledger, ListProposer([]), dict, None)
        recorder = RunRecorder(ledger, Storage(tmp_path), progress, Deadline())
        pickle.dumps(TuneCallback(searcher, recorder, Deadline()))
    finally:
        progress.close()
