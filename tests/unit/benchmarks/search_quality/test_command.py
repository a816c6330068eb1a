from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_quality.__main__ import main, sources
from benchmarks.search_quality.figures import interval, pair, summary
from benchmarks.search_quality.transfer import others


def test_an_interval_is_that_of_a_mean_of_tasks_drawn_anew() -> None:
    by_task = np.random.default_rng(1).normal(2.0, 1.0, 400)
    low, high = interval(by_task)
    half = 1.96 * by_task.std() / 20
    assert (low, high) == pytest.approx((by_task.mean() - half, by_task.mean() + half), abs=0.02)
    assert interval(np.full(5, 0.25)) == pytest.approx((0.25, 0.25))


def test_a_pair_is_compared_by_the_geometric_mean() -> None:
    ours = np.array([[0.097, 0.097], [0.397, 0.397], [0.0, 0.0]])
    theirs = np.array([[0.397, 0.397], [0.397, 0.397], [0.0, 0.0]])
    found = pair(ours, theirs)
    assert found["ratio"] == pytest.approx(0.25 ** (1 / 3))
    assert (found["won"], found["tasks"]) == (1, 3)
    assert found["interval"] == pytest.approx([0.25, 1.0])
    assert pair(theirs, ours)["ratio"] == pytest.approx(1 / found["ratio"])


def test_figures_are_means_over_tasks_and_seeds() -> None:
    regrets = np.random.default_rng(0).random((2, 3, 4, 2))
    found = summary(regrets, ["a", "b"], ["x", "y", "z"], [0.5, 20.0])
    assert found["regret"]["b"] == pytest.approx(
        {"0.5": regrets[1, :, :, 0].mean(), "20": regrets[1, :, :, 1].mean()}
    )
    assert found["by_task"]["a"]["z"]["20"] == pytest.approx(regrets[0, 2, :, 1].mean())
    assert found["pairs"]["a"]["b"]["20"] == pair(regrets[0, :, :, 1], regrets[1, :, :, 1])


def test_the_command_prints_and_saves_its_figures(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = "--budgets 1 2 6 --seeds 2 --methods random asha-3 --workers 4 --jobs 2"
    main(["--curves", str(table), *options.split(), "--json", str(out)])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    saved = json.loads(out.read_text())
    assert printed == {"regret": saved["regret"], "intervals": saved["intervals"]}
    for method in ("random", "asha-3"):
        means = [saved["regret"][method][budget] for budget in ("1", "2", "6")]
        assert 1 >= means[0] >= means[1] >= means[2] >= 0
        assert means[2] < 0.6
        low, high = saved["intervals"][method]["6"]
        assert low <= means[2] <= high
    assert saved["protocol"]["tasks"] == ["first", "second"]
    assert saved["effort"]["asha-3"]["started"] > saved["effort"]["random"]["started"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tasks", "frist"), "--tasks frist.*first"),
        (("--tasks", "tuning"), "no such task"),
        (("--seeds", "-1"), "above 0"),
        (("--budgets", "0"), "above 0"),
    ],
)
def test_options_that_make_no_sense_end_with_2(
    table: Path, options: tuple[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--curves", str(table), *options])
    assert stopped.value.code == 2
    text = capsys.readouterr().err
    assert re.search(says, text), text


def test_without_curves_the_command_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "data"))
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "--curves" in capsys.readouterr().err


def test_curves_are_looked_for_beside_the_other_samples(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = table.parent / "search_quality"
    folder.mkdir()
    table.rename(folder / "curves.npz")
    monkeypatch.setenv("RAYSWEEP_DATA", str(table.parent / "data"))
    assert [source.path for source in sources(None)] == [folder / "curves.npz"]


def test_searches_on_other_tasks_come_first_where_it_is_asked_for(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = "--budgets 1 2 --seeds 1 --transfer 1 --jobs 1"
    main(["--curves", str(table), *options.split(), "--json", str(out)])
    saved = json.loads(out.read_text())
    assert list(saved["regret"]) == ["curves", "curves+earlier", "curves+misled"]
    by_task = [list(saved["by_task"][method].values()) for method in saved["regret"]]
    # Each search is another one for what it knows of the other task.
    assert by_task[0] != by_task[1] != by_task[2] != by_task[0]
    assert saved["protocol"]["transfer"] == 1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--curves", str(table), "--transfer", "2"])
    assert "--transfer 2: beside first there are 1 tasks" in capsys.readouterr().err


def test_the_other_tasks_are_drawn_anew_for_each_seed() -> None:
    names = [f"lc{k:02d}" for k in range(12)]
    drawn = [others("lc03", seed, names, 5) for seed in range(3)]
    assert all(len(set(each)) == 5 and "lc03" not in each for each in drawn)
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn[0] == others("lc03", 0, names, 5)
