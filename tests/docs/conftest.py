"""One session of Ray, small data and a folder a page for all printed commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)

from .arguments import RUNS
from .pages import Command
from .running import Page
from .samples import write_datasets, write_files

# A shell has what runs in its background ignore Ctrl-C; the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="package")
def _session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The data, where the workers of Ray look for them, too."""
    from raysweep.cluster.machines.session import ray_session

    data = tmp_path_factory.mktemp("data")
    write_datasets(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYSWEEP_DATA", str(data))
        patch.setenv("RAYSWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAYSWEEP_OFFLINE", "1")
        patch.setenv("COLUMNS", "100")
        with ray_session(num_cpus=2):
            yield


@pytest.fixture(scope="package")
def page_folder(_session: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Page]:
    """Gives what runs a page, the same each time that it is asked."""
    files, made = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("made")
    write_files(files)
    pages: dict[str, Page] = {}

    def run_once(page: Page, text: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            code = page.run(Command("tests/docs", 0, f"raysweep {text}"), patch)
        assert code == 0, f"the prepared `raysweep {text}` ended with {code}"

    def prepare(name: str) -> Path:
        if not (made / "runs" / name).exists():
            run_once(Page(made, files, prepare), RUNS[name])
        return made / "runs" / name

    for images, out in (("photos", "features"), ("holidays", "unlabelled")):
        command = f"features {images} {out} --backbone efficientnet_lite0"
        run_once(Page(files, files, prepare), command)

    def give(name: str) -> Page:
        if name not in pages:
            folder = tmp_path_factory.mktemp(name.replace("/", "-"))
            pages[name] = Page(folder, files, prepare)
        return pages[name]

    return give
