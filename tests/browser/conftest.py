"""Pages opened in headless Chromium, as a person would see them. Skipped where it is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)

# isort: split
import psutil
import pytest

from tests.helpers import write_ratings

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

START_S = 60.0


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """Chromium without a window, and without Selenium fetching one of its own."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # The projector draws with WebGL, here in software; --no-sandbox because CI runs as root.
    flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "enable-unsafe-swiftshader")
    for flag in (*flags, "window-size=1400,1000"):
        options.add_argument(f"--{flag}")
    chromium = webdriver.Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A search that was interrupted, resumed and extended; and a network that writes."""
    from raysweep.cluster.machines.session import ray_session
    from raysweep.cluster.printing.search import print_search
    from raysweep.cluster.runs.options import RunOptions
    from raysweep.cluster.runs.request import SearchRequest
    from raysweep.cluster.search.run import run_search
    from raysweep.core.storage import Storage

    folder = tmp_path_factory.mktemp("runs")
    # More films than users: the projector opens with the longest list.
    ratings = write_ratings(folder / "ratings.csv", num_users=20, num_items=30)

    def search(num_samples: int) -> None:
        request = SearchRequest(
            task="matrix_factorization",
            spaces=("l2", "embedding_size"),
            settings={"epochs": 2, "batch_size": 64},
            data={"dataset": str(ratings)},
            searcher="random",
            num_samples=num_samples,
        )
        request = request.checked()
        result = run_search(request, Storage(folder / "films"), RunOptions(quiet=True))
        print_search(request, result, as_json=True)  # draws the search's pictures

    def train() -> None:
        request = SearchRequest(
            task="char_rnn",
            settings={"epochs": 1, "hidden_size": 16, "embedding_size": 8, "batch_size": 8},
            data={"dataset": str(_text(folder))},
            num_samples=1,
        )
        run_search(request.checked(), Storage(folder / "writer"), RunOptions(quiet=True))

    with ray_session(num_cpus=2):
        search(4)
        ledger = folder / "films" / "ledger.jsonl"
        lines = ledger.read_text().splitlines(keepends=True)
        ledger.write_text("".join(lines[:-2]))  # killed before the last trials were over
        search(14)
        train()
    return {name: folder / name for name in ("films", "writer")}


def _text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("the cat eats fish often.\nthe cow likes grass today.\n" * 60)
    return path


@pytest.fixture(scope="session")
def boards(runs: dict[str, Path]) -> Iterator[dict[str, str]]:
    """`raysweep tensorboard` of each run: addresses by the runs' names."""
    with ExitStack() as stack:
        begun = {name: stack.enter_context(_tensorboard(run)) for name, run in runs.items()}
        yield {name: ready() for name, ready in begun.items()}


@contextmanager
def _tensorboard(run: Path) -> Iterator[Callable[[], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "raysweep.cluster.cli",
        "tensorboard",
        str(run),
        "--port",
        str(port),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with (run / "tensorboard.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    address = f"http://127.0.0.1:{port}"

    def ready() -> str:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                if b"trials" in urllib.request.urlopen(f"{address}/data/runs", timeout=5).read():
                    return address
            except OSError:
                assert server.poll() is None, (run / "tensorboard.log").read_text()
            time.sleep(0.3)
        raise AssertionError((run / "tensorboard.log").read_text())

    try:
        yield ready
    finally:
        children = psutil.Process(server.pid).children(recursive=True)
        for process in (*children, server):
            process.terminate()
        server.wait(10)


@pytest.fixture
def wait(browser: WebDriver) -> Callable[..., Any]:
    """Runs a script until what it returns satisfies a test; fails with the last answer."""

    def until(script: str, test: Callable[[Any], bool] = bool, seconds: float = 30.0) -> Any:
        end, answer = time.monotonic() + seconds, None
        while time.monotonic() < end:
            answer = browser.execute_script(_DEEP + script)
            if test(answer):
                return answer
            time.sleep(0.3)
        raise AssertionError(f"{script}: {str(answer)[:2000]}")

    return until


# TensorBoard is made of shadow roots and frames: these look into all of them.
_DEEP = """
const inside = function*(node) {
  if (!node) return;  // a page that is just being loaded has no body
  yield node;
  if (node.shadowRoot) yield* inside(node.shadowRoot);
  if (node.tagName === 'IFRAME' && node.contentDocument) yield* inside(node.contentDocument.body);
  for (const child of node.childNodes) yield* inside(child);
};
const texts = (start) => [...inside(start || document.body)]
  .filter((n) => n.nodeType === 3 && n.textContent.trim()).map((n) => n.textContent.trim());
const find = (tag) => [...inside(document.body)].find((n) => n.tagName === tag.toUpperCase());
"""
