"""A run of a search that reads curves, as its report and its commands show it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raysweep.analysis.report.sections.next_steps import next_steps
from raysweep.analysis.report.sections.pauses import pauses
from raysweep.cluster.printing.runs import print_run
from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import FINISHED, Ledger
from raysweep.cluster.runs.report import is_complete, run_subject, write_report
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun, open_run
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.cluster.search.curves.seen import predicted_finals
from raysweep.cluster.search.warm_start import recall
from raysweep.core.storage import Storage

METRIC, EPOCHS, BUDGET = "val_rmse", 6, 3.0


def search(folder: Path, searcher: str = "curves", until: float | None = None) -> SavedRun:
    """A run's folder as such a search leaves it; of another searcher one without a decision."""
    storage = Storage(folder)
    curves = {"budget": BUDGET, "num_samples": None} if searcher == "curves" else {}
    request = SearchRequest(
        task="matrix_factorization",
        spaces=("l2",),
        settings={"epochs": EPOCHS},
        searcher=searcher,
        until=until,
        **curves,  # type: ignore[arg-type]
    ).checked()
    write_experiment(storage, request, "0123", "planted")
    ledger = Ledger(storage, METRIC, "min")
    suggest = request.suggest()
    params = recall(suggest, request.complete({}))[0]
    plan = CurvePlan(
        *(ledger, suggest, 0, EPOCHS, request.complete),
        budget=BUDGET,
        until=until,
        first=[(params, {})],
    )
    if searcher != "curves":
        ledger.add({}, request.complete({}))
        ledger.result(0, {"epoch": 1, METRIC: 0.9, "time_epoch_s": 0.5})
        ledger.end(0, FINISHED)
    while searcher == "curves" and (trial := plan.next()) is not None:
        for epoch in range(trial.epoch + 1, (trial.target or 0) + 1):
            rmse = 0.9 + (trial.config["embedding_l2"] - 0.05) ** 2 + 0.2 / epoch
            ledger.result(trial.index, {"epoch": epoch, METRIC: rmse, "time_epoch_s": 0.5})
        if trial.epoch == EPOCHS:
            ledger.end(trial.index, FINISHED)
    plan.settle()
    return open_run(storage.uri, "")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return search(tmp_path_factory.mktemp("runs") / "curves")


def test_the_report_says_what_was_resumed_why_and_what_is_expected(run: SavedRun) -> None:
    page = Path(write_report([run], finals=predicted_finals)).with_name("report.md").read_text()
    resumed = [t.index for t in run.ledger for d in t.decisions if d["why"] == "resume"]
    assert f"## {len(set(resumed))} of {len(run.ledger)} trials went on after a pause" in page
    assert f"Of {sum(t.epoch for t in run.ledger)} epochs, 6 (" in page
    assert "trained the default configuration" in page
    assert "Another tenth of the budget (1.8 epochs) is expected to improve val_rmse by" in page
    assert "went to resumed trials](decisions.png)" in page
    assert "the first trial" not in page, "which is the default configuration"
    for name in ("pauses", "decisions"):
        assert (run.storage / "report").exists(f"{name}.png")


def test_each_stage_stands_in_the_report_with_its_reason(run: SavedRun) -> None:
    finals = predicted_finals(run)
    assert set(finals) == {t.index for t in run.ledger if t.epoch < EPOCHS}
    subject = run_subject(run, finals)
    stages = subject.facts.stages
    assert sum(s.end - s.start for s in stages) == sum(t.epoch for t in run.ledger)
    assert [s.after for s in stages] == [
        sum(s.end - s.start for s in stages[:k]) for k in range(len(stages))
    ], "one after the other"
    (section,) = pauses(subject.trials, subject.facts)
    resumed, expected = section.grids
    asked = [s for s in stages if s.why == "resume"][-len(resumed.rows) :]
    for row, stage in zip(resumed.cells(), asked, strict=True):
        assert row[0].text == f"{stage.trial}"
        assert row[2].text == f"{stage.start} → {stage.end}"
        assert stage.final is not None
        assert row[3].text.startswith(f"expected to end at {stage.final[0]:.4f} (")
        reached = min(r[METRIC] for r in run.ledger.trials[stage.trial].history[: stage.end])
        assert row[4].text == f"{reached:.4f}"
    middles = [float(row[3].text) for row in expected.cells()]
    assert middles == sorted(middles), "the most promising first"


def test_another_searcher_has_no_such_section(tmp_path: Path) -> None:
    other = search(tmp_path / "tpe", "tpe")
    assert predicted_finals(other) == {}
    subject = run_subject(other)
    assert pauses(subject.trials, subject.facts) == []


def test_show_says_what_to_do_next(run: SavedRun, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run)
    said = capsys.readouterr().out
    assert "Another tenth of the budget (1.8 epochs)" in said
    assert "default (trial 0)" in said
    subject = run_subject(run)
    advice = " ".join(next_steps(subject.trials, subject.facts).sentences)
    last = run.ledger.outlook
    assert last is not None
    for gain, budget in ((0.5, True), (0.0, False)):
        run.ledger.outlook = {**last, "gain": gain}
        print_run(run)
        said = capsys.readouterr().out
        subject = run_subject(run)
        advice = " ".join(next_steps(subject.trials, subject.facts).sentences)
        assert ("the same command with --budget 4; or" in said) is budget
        assert ("--budget 4 — another tenth of the budget" in advice) is budget
        assert ("little is left to gain here: raysweep confirm" in said) is not budget
    run.ledger.outlook = last


def test_a_search_that_ended_by_its_limit_is_over_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = search(tmp_path / "until", until=0.5)
    assert sum(t.epoch for t in ended.ledger) < BUDGET * EPOCHS
    assert is_complete(ended)
    print_run(ended)
    said = capsys.readouterr().out
    assert "The search ended early: another tenth of the budget (1.8 epochs)" in said
    assert "less than --until 0.5. A smaller --until goes on." in said
    assert "little is left to gain here" in said
    written = (ended.storage.read("ledger.jsonl")).decode().splitlines()
    assert any("until" in json.loads(line).get("outlook", {}) for line in written)
