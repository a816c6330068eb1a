"""Runs what a page prints in a folder of its own, with budgets shrunk, in one session of Ray."""

from __future__ import annotations

import io
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import raysweep
from raysweep.cluster.cli import main

from .arguments import NEW, PLACEHOLDERS, PREPARED, RUNS, shrunk, tasks_of
from .pages import ROOT, Block, Command

__all__ = ["Page"]


@dataclass
class Page:
    """A page that is being run.

    Attributes:
        folder: where its commands run.
        files: the folder with the files that commands may name.
        prepare: gives the folder of a prepared run by its name.
        variables: of its Python blocks.
    """

    folder: Path
    files: Path
    prepare: Callable[[str], Path]
    variables: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})

    def run(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
        """Runs a command and returns its exit code."""
        text, _, stdin = command.text.partition(" < ")
        words = shlex.split(text)
        tool, *arguments = words
        if tool == "make":
            return self._make(arguments, monkeypatch)
        if words[:3] == ["python", "-m", "raysweep"]:
            tool, arguments = "raysweep", arguments[2:]
        self._provide(arguments)
        monkeypatch.chdir(self.folder)
        if stdin:
            self._provide([stdin.strip()])
            given = io.BytesIO(Path(stdin.strip()).read_bytes())
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
        if tool == "raysweep":
            arguments = shrunk(self._filled(arguments))
            if arguments[0] == "tensorboard":
                return _tensorboard(arguments)
            return _exit_code(main, ["raysweep", *arguments], monkeypatch)
        if tool == "python":
            return self._python(arguments, monkeypatch)
        raise AssertionError(f"{command.page}:{command.line}: nobody knows how to run {tool}")

    def execute(self, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
        """Executes a block of Python, or writes it to its file."""
        monkeypatch.chdir(self.folder)
        if block.file:
            Path(block.file).write_text(block.text)
            return
        self._provide(re.findall(r"""["']([^"'\n]+)["']""", block.setup + block.text))
        _shrink_interface(monkeypatch)
        for text in (block.setup, block.text):
            # As many empty lines before it as there are on the page, for tracebacks.
            code = "\n" * (block.line - 1) + text
            exec(compile(code, block.page, "exec"), self.variables)

    def _provide(self, words: list[str]) -> None:
        """Copies files and runs that are named and not there."""
        written = words[2:3] if words[:1] == ["features"] else []
        for word in {PLACEHOLDERS.get(each, each) for each in words}:
            name = word.rpartition("=")[2].rstrip("/")
            if not name or name.startswith(("/", ".")) or name in written:
                continue
            if name in RUNS and f"--name {name}" not in " ".join(words):
                self._provide_run(name)
            source, target = self.files / name, self.folder / name
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)

    def _provide_run(self, name: str) -> None:
        target = self.folder / "runs" / name
        if not target.exists():
            shutil.copytree(self.prepare(name), target)
            self._provide(RUNS[name].split())  # the data that it names

    def _filled(self, words: list[str]) -> list[str]:
        """Words for the placeholders."""
        told = {name: self._run_named(name, words) for name in ("RUN", "OTHER") if name in words}
        filled = [told.get(word) or PLACEHOLDERS.get(word, word) for word in words]
        return [f"new-{word}" if word in NEW else word for word in filled]

    def _run_named(self, name: str, words: list[str]) -> str:
        """The newest run that suits a command, or the one before it, or a prepared one."""
        tasks = tasks_of(words)
        named = [word for word in words if (self.folder / "runs" / word).is_dir()]
        runs = [run for run in self._runs(tasks) if run not in named]
        wanted = int(name == "OTHER" and "RUN" in words)
        for prepared in (PREPARED.get(tasks[0], "films") if tasks else "films", "network"):
            if len(runs) <= wanted and prepared not in [*runs, *named]:
                self._provide_run(prepared)
                runs.append(prepared)
        return runs[wanted]

    def _runs(self, tasks: tuple[str, ...]) -> list[str]:
        """The page's runs of some trainables (all, if none are named), the newest first."""
        files = sorted(
            (self.folder / "runs").glob("*/experiment.yaml"),
            key=lambda path: -path.stat().st_mtime_ns,
        )
        told = {path.parent.name: yaml.safe_load(path.read_text()) for path in files}
        return [
            name for name, each in told.items() if not tasks or each["request"]["task"] in tasks
        ]

    def _make(self, targets: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
        """Runs the `raysweep` commands of a target's recipe."""
        command = ["make", "-n", "-C", str(ROOT), *targets]
        recipe = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [text for text in recipe.splitlines() if text.startswith(".venv/bin/raysweep ")]
        assert lines, f"`make {' '.join(targets)}` runs no raysweep"
        texts = [text.removeprefix(".venv/bin/") for text in lines]
        codes = [self.run(Command("Makefile", 0, text), monkeypatch) for text in texts]
        return next((code for code in codes if code), 0)

    def _python(self, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
        """Runs a file of the page or of the repository in this process."""
        own = self.folder / arguments[0]
        path = own if own.exists() else ROOT / arguments[0]
        _shrink_interface(monkeypatch)
        return _exit_code(
            lambda: runpy.run_path(str(path), run_name="__main__"), arguments, monkeypatch
        )


def _shrink_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the Python interface take two trials, one epoch and two seeds, whatever is asked."""

    def small(function: Callable[..., Any], **budget: int) -> Callable[..., Any]:
        return lambda *args, **options: function(*args, **{**options, **budget})

    budget = {"num_samples": 2, "epochs": 1, "max_concurrent": 1}
    monkeypatch.setattr(raysweep, "tune", small(raysweep.tune, **budget))
    monkeypatch.setattr(raysweep.Run, "confirm", small(raysweep.Run.confirm, num_seeds=2))
    if hasattr(raysweep, "train"):
        monkeypatch.setattr(raysweep, "train", small(raysweep.train, epochs=1))


def _exit_code(
    function: Callable[[], object], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    monkeypatch.setattr(sys, "argv", arguments)
    try:
        function()
    except SystemExit as ending:
        return ending.code or 0
    return 0


def _tensorboard(arguments: list[str]) -> int:
    """Starts TensorBoard as a process, asks it for its page, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "raysweep", *arguments, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                    return 0 if b"TensorBoard" in page.read() else 1
            except OSError:
                if process.poll() is not None:
                    return process.returncode
                time.sleep(0.1)
        return 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
