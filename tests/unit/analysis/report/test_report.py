"""Reports of planted searches: what was planted is named, figures trace to the table."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raysweep.analysis.report.build import Subject, build_page
from raysweep.analysis.report.sections.headline import headline
from raysweep.analysis.report.trials import RunFacts, Trials
from raysweep.cluster.runs.experiment import write_experiment
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.report import write_report
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import open_run
from raysweep.core.storage import Storage
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorizationConfig

METRIC, EPOCHS = "val_rmse", 4
IMPORTANT, NULL, PAIR = "embedding_l2", ("bias_l2", "num_factors"), ("momentum", "init_scale")


def planted(seed: int, num_trials: int = 60, noise: float = 0.002) -> list[dict[str, Any]]:
    """Trials of which one field matters, two do not, and two matter only together."""
    rng = np.random.default_rng(seed)
    default = MatrixFactorizationConfig(
        epochs=EPOCHS, embedding_l2=0.0, momentum=0.5, init_scale=1.0
    ).to_dict()
    trials = []
    for k in range(num_trials):
        searched = {
            "embedding_l2": float(rng.uniform(0.0, 0.8)),
            "bias_l2": float(rng.uniform(0.001, 0.009)),
            "num_factors": int(rng.integers(40, 90)),
            "momentum": float(rng.uniform(0.0, 0.99)),
            "init_scale": float(rng.uniform(0.5, 1.5)),
        }
        config = default | (searched if k else {})
        x, y = config["momentum"] - 0.5, config["init_scale"] - 1.0
        end = 0.95 - 0.05 * (1.0 - (config["embedding_l2"] / 0.4 - 1.0) ** 2) - 0.12 * x * y
        end += rng.normal(scale=noise)
        curve = [end + 0.03 / e**1.5 + rng.normal(scale=0.0005) for e in range(1, EPOCHS + 1)]
        trials.append({"config": config, "params": searched if k else {}, "curve": curve})
    bar = sorted(trial["curve"][0] for trial in trials)[num_trials // 3]
    for k, trial in enumerate(trials):
        if k and trial["curve"][0] > bar:
            trial["curve"] = trial["curve"][:1]
    return trials


def write_run(
    folder: Path, trials: list[dict[str, Any]], *, num_samples: int | None = None, failed: int = 0
) -> Storage:
    """A run's folder as a search leaves it, without a search."""
    storage = Storage(folder)
    request = SearchRequest(
        task="matrix_factorization",
        spaces=("l2",),
        settings={"epochs": EPOCHS},
        num_samples=num_samples or len(trials) + failed,
    ).checked()
    write_experiment(storage, request, "0123", "planted")
    ledger = Ledger(storage, METRIC, "min")
    for index, trial in enumerate(trials):
        ledger.add(trial["params"], trial["config"])
        for epoch, value in enumerate(trial["curve"], start=1):
            record = {"epoch": epoch, METRIC: value, "val_mse": value**2, "time_epoch_s": 0.5}
            ledger.result(index, record)
        ledger.end(index, "finished" if len(trial["curve"]) == EPOCHS else "stopped")
    for index in range(len(trials), len(trials) + failed):
        ledger.add({}, {**trials[0]["config"], "seed": index})
        ledger.end(index, "failed", "ValueError: no luck")
    ledger.table().to_parquet(folder / "trials.parquet", index=False)
    return storage


def as_trials(planted_trials: list[dict[str, Any]]) -> Trials:
    rows = [
        {
            "trial": k,
            "status": "finished" if len(t["curve"]) == EPOCHS else "stopped",
            "epochs": len(t["curve"]),
            METRIC: min(t["curve"]),
            "time_total_s": 0.5 * len(t["curve"]),
            "curve": t["curve"],
            "error": "",
            **{f"config.{name}": value for name, value in t["config"].items()},
        }
        for k, t in enumerate(planted_trials)
    ]
    return Trials(pd.DataFrame(rows), METRIC, "min", MatrixFactorizationConfig)


FACTS = RunFacts("planted", ("?",), {"request": {"spaces": ["l2"], "scheduler": "asha"}})


def test_what_was_planted_is_named_and_nothing_else_over_20_seeds() -> None:
    for seed in range(20):
        title = headline(as_trials(planted(seed)), FACTS).title
        assert title.startswith("What mattered: "), (seed, title)
        assert IMPORTANT in title, (seed, title)
        assert re.search(
            rf"{PAIR[0]} together with {PAIR[1]}|{PAIR[1]} together with {PAIR[0]}", title
        )
        assert not [name for name in NULL if name in title], (seed, title)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_run(tmp_path_factory.mktemp("runs") / "planted", planted(0), failed=2)


@pytest.fixture(scope="module")
def page(run: Storage) -> str:
    path = Path(write_report([open_run(run.uri, "")]))
    return path.read_text(encoding="utf-8")


def test_the_page_is_one_file_with_markdown_pictures_and_table_beside_it(
    run: Storage, page: str
) -> None:
    assert run.local is not None
    folder = run.local / "report"
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched"
    assert "<script" not in page
    assert len(page) < 3_000_000
    pictures = {path.stem for path in folder.glob("*.png")}
    assert {"importance", "ranking", "parallel", "curves", "budget", "interaction-1"} <= pictures
    named = set(re.findall(r"\]\(([^)]+)\.png\)", (folder / "report.md").read_text()))
    assert named == pictures
    table, theirs = (pd.read_parquet(p / "trials.parquet") for p in (folder, run.local))
    pd.testing.assert_frame_equal(table, theirs)


def test_the_page_needs_the_table_alone(run: Storage, page: str, tmp_path: Path) -> None:
    """Without the ledger, with nothing but the table, every figure is the same."""
    bare = Storage(tmp_path / "planted")
    for name in ("trials.parquet", "experiment.yaml"):
        bare.write(name, run.read(name))
    again = Path(write_report([open_run(bare.uri, "")])).read_text(encoding="utf-8")
    assert again == page


def test_cells_say_their_row_and_column(run: Storage, page: str) -> None:
    table = pd.read_parquet(io.BytesIO(run.read("trials.parquet"))).set_index("trial")
    cells = re.findall(r'data-source="trial (\d+), ([^"]+)"[^>]*>([^<]*)<', page)
    assert len(cells) >= 8
    for trial, column, text in cells:
        value = table.loc[int(trial), column]
        assert float(text) == pytest.approx(float(value), rel=5e-3), (trial, column)


def test_another_table_gives_other_figures(run: Storage, page: str, tmp_path: Path) -> None:
    table = pd.read_parquet(io.BytesIO(run.read("trials.parquet")))
    table[METRIC] += 1.0
    table["curve"] = [None if c is None else c + 1.0 for c in table["curve"]]
    blob = io.BytesIO()
    table.to_parquet(blob, index=False)
    bare = Storage(tmp_path / "planted")
    bare.write("trials.parquet", blob.getvalue())
    bare.write("experiment.yaml", run.read("experiment.yaml"))
    again = Path(write_report([open_run(bare.uri, "")])).read_text(encoding="utf-8")
    best = table[METRIC].min()
    assert f"{best:.4f}" in again
    assert f"{best - 1.0:.4f}" in page
    assert f"{best - 1.0:.4f}" not in re.sub(r"data:image[^\"]*", "", again)


def test_failures_are_counted_with_their_reason(run: Storage) -> None:
    assert run.local is not None
    text = (run.local / "report" / "report.md").read_text()
    assert "Not all trials came to a result" in text
    assert "2 trials failed: ValueError: no luck." in text
    assert "error.txt" in text, "what to do next"


def test_stopping_early_saved_what_the_table_says(run: Storage) -> None:
    table = pd.read_parquet(io.BytesIO(run.read("trials.parquet")))
    stopped = table[table["status"] == "stopped"]
    saved = 0.5 * (EPOCHS - stopped["epochs"]).sum()
    spent = table["time_total_s"].sum()
    assert run.local is not None
    text = (run.local / "report" / "report.md").read_text()
    match = re.search(r"## ([\d.]+) trial-minutes .* saved ([\d.]+) trial-minutes, (\d+)%", text)
    assert match is not None
    figures = [float(word) for word in match.groups()]
    assert figures[:2] == pytest.approx([spent / 60, saved / 60], abs=0.06)
    assert figures[2] == pytest.approx(100 * saved / (saved + spent), abs=0.6)


def test_a_search_that_is_not_over_still_reports_and_says_so(tmp_path: Path) -> None:
    storage = write_run(tmp_path / "young", planted(1)[:5], num_samples=60)
    ledger = tmp_path / "young" / "ledger.jsonl"
    whole = ledger.read_text()
    ledger.write_text(whole + '{"index": 5, "event": "tri')  # being written
    write_report([open_run(storage.uri, "")])
    text = (tmp_path / "young" / "report" / "report.md").read_text()
    assert "This search is not over: " in text
    assert "60 asked for" in text
    assert "5 trials have a result: too few to say what a field does" in text
    assert ledger.read_text().startswith(whole), "a run under way is not touched"
    assert ledger.read_text() != whole


def test_a_run_without_any_trial_reports(tmp_path: Path) -> None:
    storage = write_run(tmp_path / "empty", [], num_samples=3)
    write_report([open_run(storage.uri, "")])
    assert "No trial has a result yet." in (tmp_path / "empty/report/report.md").read_text()


def test_test_figures_are_those_of_the_log_and_openings_are_counted(tmp_path: Path) -> None:
    storage = write_run(tmp_path / "done", planted(2))
    write_report([open_run(storage.uri, "")])
    text = (tmp_path / "done/report/report.md").read_text()
    assert "The test set has not been opened" in text
    assert "test_rmse" not in text
    figure = {"values": [0.9, 0.92], "mean": 0.9123, "interval_95": 0.0456}
    row = {"label": "default", "trial": 0, "seeds": [1, 2], "test_rmse": figure}
    opening = {"when": "2026-01-01T00:00:00+00:00", "command": "raysweep confirm done"}
    log = {"results": {"x": [row]}, "test_set_openings": [opening, opening]}
    storage.write("confirm.json", json.dumps(log))
    write_report([open_run(storage.uri, "")])
    text = (tmp_path / "done/report/report.md").read_text()
    assert "The test set was opened 2 times" in text
    assert "0.9123 ± 0.0456" in text


def test_several_runs_are_compared(tmp_path: Path) -> None:
    searches = [planted(seed, num_trials=30) for seed in (3, 4)]
    for name, trials in zip("ab", searches, strict=True):
        write_run(tmp_path / name, trials)
    path = Path(write_report([open_run(str(tmp_path / name), "") for name in "ab"]))
    text = (path.parent / "report.md").read_text()
    best = [min(min(t["curve"]) for t in trials) for trials in searches]
    first = "ab"[int(np.argmin(best))]
    assert f"Of 2 runs, {first} has the best {METRIC}: {min(best):.4f}" in text
    assert all((path.parent / f"{name}-curves.png").exists() for name in "ab")
    assert (path.parent / "b.trials.parquet").exists()


def test_titles_and_field_names_cannot_break_the_page() -> None:
    trials = as_trials(planted(5)[:3])
    facts = RunFacts("<script>", ("Is <b> bold?",), {**FACTS.experiment, "command": "a & b"})
    request = {"spaces": ["l2"], "scheduler": "asha", "searcher": "tpe", "seed": 0, "cpus": 1}
    facts = RunFacts(facts.name, facts.questions, {**facts.experiment, "request": request})
    html = build_page([Subject(facts, trials)]).html()
    assert "<script>" not in html
    assert "Is &lt;b&gt; bold?" in html
