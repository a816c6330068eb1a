"""What the benchmarks share: contestants in fresh processes, in turns; ratios; tables; records."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

__all__ = [
    "CONSOLE",
    "REPORTS",
    "RIVALS",
    "Contestant",
    "Timed",
    "environment",
    "facts",
    "in_turns",
    "pairwise",
    "report_path",
    "run",
    "save",
    "scratch",
    "spread",
    "verdict",
]

CONSOLE = Console(highlight=False)
_ROOT = Path(__file__).resolve().parent.parent
REPORTS = _ROOT / "docs" / "benchmarks"
RIVALS = _ROOT / ".venv-rivals" / "bin" / "python"
_PACKAGES = ("ray", "torch", "optuna", "numpy", "pandas", "pyarrow")
# A contestant starts with Ray's and Tune's own defaults, whatever this process has set.
_FOREIGN = ("RAY_", "TUNE_", "OMP_", "MKL_")
_TIME_LIMIT_S = 3600.0

Watch = Callable[[psutil.Process], None]


@dataclass(frozen=True)
class Contestant:
    """A program that does the job.

    Attributes:
        name: in tables.
        module: what `python -m` runs; it prints its answer as the last line, in JSON.
        arguments: after the folder of the problem.
        environment: added to what every contestant gets.
        python: that runs it; another environment's runs the module as a file.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable)

    @property
    def command(self) -> list[str]:
        """What starts it."""
        if self.python == Path(sys.executable):
            return [sys.executable, "-m", self.module]
        return [str(self.python), str(_ROOT / f"{self.module.replace('.', '/')}.py")]


@dataclass(frozen=True)
class Timed:
    """One run of a contestant.

    Attributes:
        seconds: from the start of its process to its end.
        answer: what it printed.
        load: the machine's load average over the minute before, and at the end.
    """

    seconds: float
    answer: dict[str, Any]
    load: tuple[float, float]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; its path is short, because Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="rsb-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(
    contestant: Contestant,
    inputs: Path,
    watch: Watch | None = None,
    period: float = 0.5,
    seed: int = 0,
) -> Timed:
    """Runs a contestant in a fresh process on a copy of its inputs, and leaves nothing behind.

    Args:
        contestant: the program.
        inputs: the folder of the problem.
        watch: called with the process every `period` seconds.
        period: see `watch`.
        seed: what the program reads as `BENCHMARK_SEED`, if luck has a part in its job.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    with scratch() as folder:
        shutil.copytree(inputs, folder / "p")
        command = [*contestant.command, str(folder / "p")]
        output, errors = folder / "out", folder / "err"
        load = os.getloadavg()[0]
        start = time.perf_counter()
        with output.open("wb") as out, errors.open("wb") as err:
            process = psutil.Popen(
                [*command, *contestant.arguments],
                cwd=_ROOT,
                env=environment(contestant, folder, seed),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                _wait(process, watch, period)
            finally:
                seconds = time.perf_counter() - start
                _stop(process)
        lines = output.read_text(errors="replace").strip().splitlines()
        if process.returncode != 0 or not lines:
            tail = "\n".join(errors.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"{contestant.name} ended with {process.returncode}:\n{tail}")
        return Timed(seconds, json.loads(lines[-1]), (load, os.getloadavg()[0]))


def environment(contestant: Contestant, folder: Path, seed: int) -> dict[str, str]:
    """What a contestant gets: nothing of Ray's, Tune's or OpenMP's from this shell.

    Args:
        contestant: may add to it.
        folder: Ray's files go below it.
        seed: see `run`.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    return {
        **kept,
        # The same for all: authentication, as a shared machine needs it, and no telephone calls.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder / "r"),
        # When the clock began, for contestants that tell how soon they got somewhere.
        "BENCHMARK_STARTED": str(time.time()),
        "BENCHMARK_SEED": str(seed),
        "PYTHONPATH": str(_ROOT),
        **contestant.environment,
    }


def _wait(process: psutil.Popen, watch: Watch | None, period: float) -> None:
    deadline = time.monotonic() + _TIME_LIMIT_S
    while watch is not None and process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):
            watch(process)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=period)
    process.wait(timeout=max(0.1, deadline - time.monotonic()))


def _stop(process: psutil.Popen) -> None:
    """Ends what still runs, if the benchmark was interrupted or the time limit reached."""
    if process.poll() is not None:
        return
    tree = [*process.children(recursive=True), process]
    for member in tree:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, alive = psutil.wait_procs(tree, timeout=10)
    for member in alive:
        with contextlib.suppress(psutil.Error):
            member.kill()


def in_turns(
    contestants: Sequence[Contestant], inputs: Path, repeats: int
) -> dict[str, list[Timed]]:
    """Runs every contestant `repeats` times; every other round in the opposite order.

    The round's number, from 0, is its seed.
    """
    runs: dict[str, list[Timed]] = {contestant.name: [] for contestant in contestants}
    for repeat in range(repeats):
        for contestant in contestants if repeat % 2 == 0 else reversed(contestants):
            done = run(contestant, inputs, seed=repeat)
            runs[contestant.name].append(done)
            load = f"load {done.load[0]:.1f} to {done.load[1]:.1f}"
            CONSOLE.print(
                f"round {repeat + 1}/{repeats}: {contestant.name} {done.seconds:.1f} s ({load})",
                style="dim",
            )
    return runs


def pairwise(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours by theirs, round by round: what slows a whole round down cancels out."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Median with the smallest and largest: `1.20 (1.10–1.30) s`."""
    middle, low, high = statistics.median(values), min(values), max(values)
    inner = f" ({low:.{digits}f}–{high:.{digits}f})" if len(values) > 1 else ""
    return f"{middle:.{digits}f}{inner}{unit}"


def verdict(name: str, value: float, limit: float, unit: str = "") -> dict[str, Any]:
    """Prints whether a goal is met, and returns it as a record."""
    met = value <= limit
    word = "[green]met[/]" if met else "[red]missed[/]"
    CONSOLE.print(f"{word}: {name}: {value:.3g}{unit}, goal at most {limit:.3g}{unit}")
    return {"goal": name, "value": value, "limit": limit, "met": met}


def facts() -> dict[str, Any]:
    """Versions and hardware."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(git, cwd=_ROOT, capture_output=True, text=True, check=False)
    pinned = Path(__file__).with_name("rivals.txt").read_text().split() if RIVALS.exists() else []
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {package: version(package) for package in _PACKAGES},
        "rivals": dict(line.split("==") for line in pinned),
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": os.getloadavg(),
    }


def report_path(theme: str, kind: str) -> Path:
    """Where a report is saved: named by theme, processor, kind (`full` or `quick`) and date."""
    machine = facts()
    cpu = re.sub(r"\W+", "-", machine["cpu"].lower()).strip("-")
    REPORTS.mkdir(parents=True, exist_ok=True)
    return REPORTS / f"{theme}-{cpu}-{kind}-{machine['time'].partition('T')[0]}.json"


def save(path: Path | None, record: Mapping[str, Any], runs: Mapping[str, Sequence[Timed]]) -> None:
    """Writes everything that was measured as JSON, if a path was given."""
    if path is None:
        return
    every = {name: [asdict(one) for one in those] for name, those in runs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts(), **record, "runs": every}, indent=1) + "\n")
    CONSOLE.print(f"written to {path}")
