"""TensorBoard shows a run: a row a trial, labelled points, texts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = pytest.mark.timeout(180)


def test_hparams_has_a_row_a_trial_also_after_a_resume_and_an_extension(
    browser: WebDriver, boards: dict[str, str], runs: dict[str, Path], wait: Callable[..., Any]
) -> None:
    table = pd.read_parquet(runs["films"] / "trials.parquet")
    assert len(table) == 14
    browser.get(f"{boards['films']}/#hparams")
    shown = wait(
        "return texts()", lambda texts: sum(t.startswith("trial 000") for t in texts) >= len(table)
    )
    names = [t for t in shown if re.fullmatch(r"trial \d{5}", t)]
    assert sorted(names) == [f"trial {k:05d}" for k in range(14)], "each once, none missing"
    assert "Number of matching session groups: 14" in shown
    assert {"best val_rmse", "last val_rmse", "embedding_l2"} <= set(shown)
    best = f"{table['val_rmse'].min():.5g}"
    assert best in shown, "the best trial's figure stands in its row"


def test_the_projector_shows_films_with_their_titles(
    browser: WebDriver, boards: dict[str, str], wait: Callable[..., Any]
) -> None:
    browser.get(f"{boards['films']}/#projector")
    browser.refresh()
    points = wait(
        "const p = find('vz-projector'); const points = p && p.dataSet && p.dataSet.points;"
        "return points ? points.map((x) => x.metadata) : [];",
        lambda points: len(points) == 30 and all("title" in each for each in points),
    )
    assert {each["title"] for each in points} >= {"Film 3 (1973)", "Film 29 (1999)"}


def test_the_searchs_pictures_are_figures(
    browser: WebDriver, boards: dict[str, str], wait: Callable[..., Any]
) -> None:
    browser.get(f"{boards['films']}/#images")
    browser.refresh()
    shown = wait(
        "return [...inside(document.body)].filter((n) => n.tagName === 'IMG' && n.naturalWidth)"
        ".map((n) => [n.naturalWidth, n.src])",
        lambda pictures: sum("blob_key=" in source for _, source in pictures) >= 2,
    )
    figures = {}
    for width, source in shown:
        if "blob_key=" in source:
            key = source.partition("blob_key=")[2].partition("&")[0]
            _, run, name, step, _ = json.loads(
                base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
            )
            assert name not in figures, "each once"
            figures[name] = (run, step)
            assert width > 300
    assert set(figures) <= {"search", "effects", "factors"}, "the last ones load when scrolled to"
    assert set(figures.values()) == {("pictures", 14)}


def test_text_samples_are_there(
    browser: WebDriver, boards: dict[str, str], runs: dict[str, Path], wait: Callable[..., Any]
) -> None:
    browser.get(f"{boards['writer']}/#text")
    browser.refresh()
    samples = wait(
        "return [...inside(document.body)].filter((n) => n.tagName === 'CODE')"
        ".map((n) => n.textContent)",
        lambda samples: any(len(text) > 100 for text in samples),
    )
    alphabet = set((runs["writer"].parent / "text.txt").read_text())
    assert any(len(text) > 100 and set(text.replace("→", "")) <= alphabet for text in samples)
    assert any("temperature" in text for text in wait("return texts()"))
