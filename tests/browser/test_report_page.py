"""The report is one page that fits a screen and a phone, and needs no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def page(runs: dict[str, Path]) -> str:
    from raysweep.cluster.runs.report import write_report
    from raysweep.cluster.runs.saved_run import open_run

    return Path(write_report([open_run(str(runs["films"]), "")])).as_uri()


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_overflows(
    browser: WebDriver, page: str, width: int, wait: Callable[..., Any]
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    wait("return document.readyState", lambda state: state == "complete")
    reach = "return [document.documentElement.scrollWidth, window.innerWidth]"
    needed, shown = browser.execute_script(reach)
    assert shown == width
    assert needed <= width
    wide = browser.execute_script(
        "return [...document.querySelectorAll('img, p, h1, h2')]"
        ".filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_all_pictures_are_in_the_page_with_words_for_those_who_do_not_see(
    browser: WebDriver, page: str
) -> None:
    browser.get(page)
    pictures = browser.execute_script(
        "return [...document.images].map((i) => [i.naturalWidth, i.alt, i.src.slice(0, 5)])"
    )
    assert len(pictures) >= 8
    assert all(width > 300 and alt and src == "data:" for width, alt, src in pictures)
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
        ".filter((name) => !name.startsWith('data:'))"
    )
    assert fetched == []
    title = browser.execute_script("return document.querySelector('h1').textContent")
    assert "How much L2" in title
