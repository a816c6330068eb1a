"""A run's folder holds what docs/architecture.md says, after a search, `confirm` and `report`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import raysweep
from raysweep.cluster.cli import main

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(180)]
PAGE = Path(__file__).resolve().parents[2] / "docs/architecture.md"
# Only where a trial has failed; only where a search that reads curves has earlier runs.
_NOT_HERE = {"trials/00012/error.txt", "warm_start.jsonl"}


def test_every_file_of_the_page_is_there(
    ratings_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "tune matrix_factorization l2 --num-samples 13 --searcher random --epochs 1 --name run"
    where = ["--dataset", str(ratings_csv), "--storage", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["raysweep", *words.split(), *where])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    run = raysweep.load_run("run", storage=tmp_path)
    run.confirm(num_seeds=2)
    run.report()
    table = PAGE.read_text(encoding="utf-8").partition("## A run's folder")[2].partition("\n## ")[0]
    names = [
        name
        for row in re.findall(r"^\| (`.+?) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(.+?)`", row)
    ]
    assert len(names) > 10
    for name in names:
        if name not in _NOT_HERE:
            assert list((tmp_path / "run").glob(name.rstrip("/"))), name
