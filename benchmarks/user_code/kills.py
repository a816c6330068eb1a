"""Does a search of a user's own code bear kill -9? Its table beside that of an undisturbed one.

python -m benchmarks.user_code.kills              # 20 kills for each way in; 20 minutes
python -m benchmarks.user_code.kills --quick      # 4 kills for each way in

There are three ways into raysweep: a function with checkpoints, a `tune.Trainable` and a
`raysweep.TensorLearner`. Each is searched by `raysweep tune` with one trial at a time, the last one
also by `--searcher curves`, which pauses trials, with one and with two at a time. At random
moments a worker is killed, or the command with all that is in its process group, in turns; a
command that was killed is run again at once. In the end its table must be that of an undisturbed
search but for times, and each report must be in the ledger once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from rich.table import Table

from benchmarks.harness import CONSOLE, Contestant, environment, save, scratch, verdict

_HERE = Path(__file__).resolve().parent
_SCORE = ("steps.py:space", "--metric", "score", "--mode", "max", "--epochs", "20")
_RANGES = ("--search", "width=4..64:log", "--search", "learning_rate=1e-3..1e-1:log")
_ONE = ("--max-concurrent", "1")
_TENSORS = ("net.py:Net", *_RANGES, "--epochs", "20")
_TWO = ("--max-concurrent", "2", "--deterministic")
# What comes after `raysweep tune`.
WAYS = {
    "function": ("steps.py:climb", *_SCORE, *_ONE),
    "Trainable": ("steps.py:Climber", *_SCORE, *_ONE),
    "TensorLearner": (*_TENSORS, *_ONE),
    "curves, one trial at a time": (*_TENSORS, "--searcher", "curves", *_ONE),
    "curves, two at a time": (*_TENSORS, "--searcher", "curves", *_TWO),
}
_LONGEST_S = 1.5  # from the first result after a start or a kill to the next kill
_SILENT_S = 240.0  # without a result, a search counts as hung
_LOOK_S = 0.02
_MOST_SHOWN = 5


@dataclass
class Outcome:
    """What became of a way in.

    Attributes:
        way: its name in `WAYS`.
        workers: workers that were killed.
        commands: commands that were killed.
        starts: of the command, those of the searches that were killed.
        searches: that were killed; another one begins when one is over before all kills were made.
        differences: to the undisturbed search, in words.
        left: processes of a killed command that were there 10 s after its end.
        undisturbed_s: seconds of the undisturbed search.
        disturbed_s: seconds of all others.
        again_s: from each kill to the first result after it.
    """

    way: str
    workers: int = 0
    commands: int = 0
    starts: int = 0
    searches: int = 0
    differences: list[str] = field(default_factory=list)
    left: int = 0
    undisturbed_s: float = 0.0
    disturbed_s: float = 0.0
    again_s: list[float] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """All of them."""
        return self.workers + self.commands


class Search:
    """A run in a folder, and the command that works on it.

    Args:
        way: one of `WAYS`.
        name: the run's.
        folder: with the user's files; the runs lie below it.
        trials: in all.
    """

    def __init__(self, way: str, name: str, folder: Path, trials: int) -> None:
        self.run = folder / "runs" / name
        self._folder = folder
        size = ("--num-samples", str(trials), "--name", name)
        self._command = [sys.executable, "-m", "raysweep", "tune", *WAYS[way], *size]
        self._seen: dict[int, psutil.Process] = {}

    def start(self) -> None:
        """Runs the command."""
        contestant = Contestant("", "", environment={"RAYSWEEP_STORAGE": "runs"})
        with (self._folder / "output.txt").open("wb") as output:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=environment(contestant, self._folder, seed=0),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def over(self) -> bool:
        """Whether the command has ended; RuntimeError if it failed."""
        code = self.process.poll()
        if code:
            tail = (self._folder / "output.txt").read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError("\n".join([f"raysweep tune ended with {code}:", *tail]))
        return code is not None

    def num_results(self) -> int:
        """Results in the ledger so far."""
        path = self.run / "ledger.jsonl"
        return path.read_text().count('"event": "result"') if path.exists() else 0

    def wait(self, results: int) -> bool:
        """Waits for more than so many results; False if the command ended before.

        Raises:
            RuntimeError: the command failed, or nothing happened for minutes.
        """
        deadline = time.monotonic() + _SILENT_S
        while self.num_results() <= results:
            if self.over():
                return False
            if time.monotonic() > deadline:
                raise RuntimeError(f"no result for {_SILENT_S:.0f} s in {self.run}")
            time.sleep(_LOOK_S)
        return True

    def kill_worker(self, rng: random.Random) -> bool:
        """Kills one of the processes that train; False if there is none at the moment."""
        trains = [p for p in self._tree() if _trains(p)]
        if trains:
            rng.choice(trains).kill()
        return bool(trains)

    def kill(self) -> None:
        """Kills the command and whatever is in its process group."""
        self._tree()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _tree(self) -> list[psutil.Process]:
        try:
            tree = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self._seen |= {each.pid: each for each in tree}
        return tree

    def end(self) -> int:
        """Kills all that is left; returns how many processes were there after 10 s."""
        if self.process.poll() is None:
            self.kill()
        _, left = psutil.wait_procs(list(self._seen.values()), timeout=10)
        for each in left:
            each.kill()
        return len(left)


def _trains(process: psutil.Process) -> bool:
    try:
        title = "".join(process.cmdline()[:1])
    except psutil.Error:
        return False
    return title.startswith("ray::") and "Trainable" in title


def disturb(search: Search, outcome: Outcome, wanted: int, rng: random.Random) -> None:
    """Runs a search to its end, with kills until there were so many in all."""
    outcome.searches += 1
    while True:
        search.start()
        outcome.starts += 1
        since = time.perf_counter()
        results = search.num_results()
        killed = outcome.kills > 0 and results > 0
        while outcome.kills < wanted and search.wait(results):
            if killed:
                outcome.again_s.append(time.perf_counter() - since)
            time.sleep(rng.uniform(0, _LONGEST_S))
            if search.over():
                break
            results = search.num_results()
            killed = True
            if outcome.workers > outcome.commands:
                search.kill()
                outcome.commands += 1
                break
            killed = search.kill_worker(rng)
            outcome.workers += killed
            since = time.perf_counter()
        if search.process.returncode == -signal.SIGKILL:
            continue
        results = -1
        while search.wait(results):
            results = search.num_results()
        return


def differences(undisturbed: Path, disturbed: Path) -> list[str]:
    """What differs between two runs, times left out, and what a ledger has twice or not at all."""
    expected, found = (pd.read_parquet(run / "trials.parquet") for run in (undisturbed, disturbed))
    wrong = [f"column {name}" for name in sorted(set(expected.columns) ^ set(found.columns))]
    if len(expected) != len(found):
        wrong.append(f"{len(found)} trials instead of {len(expected)}")
    for name in expected.columns.intersection(found.columns):
        if "time" in name:
            continue
        pairs = zip(_texts(expected[name]), _texts(found[name]), strict=False)
        texts = (
            f"trial {n}, {name}: {b} instead of {a}" for n, (a, b) in enumerate(pairs) if a != b
        )
        wrong += texts
    reports: dict[int, list[int]] = {}
    for line in (disturbed / "ledger.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "result":
            reports.setdefault(event["index"], []).append(event["result"]["epoch"])
    for trial, epochs in sorted(reports.items()):
        if epochs != list(range(1, len(epochs) + 1)):
            wrong.append(f"trial {trial} has the reports {epochs}")
    return wrong


def _texts(column: pd.Series[Any]) -> list[str]:
    """Cells to the last digit; a curve is an array."""
    return [repr(v.tolist() if hasattr(v, "tolist") else v) for v in column]


def measure(way: str, kills: int, trials: int, seed: int) -> Outcome:
    """Searches undisturbed, and killed so many times; compares."""
    outcome, rng = Outcome(way), random.Random(f"{seed} {way}")
    with scratch() as folder:
        for name in ("steps.py", "net.py"):
            shutil.copy(_HERE / name, folder)
        calm = Search(way, "undisturbed", folder, trials)
        searches = [calm]
        try:
            start = time.perf_counter()
            disturb(calm, Outcome(way), 0, rng)
            outcome.undisturbed_s = time.perf_counter() - start
            start = time.perf_counter()
            while outcome.kills < kills:
                name = f"killed-{outcome.searches}"
                searches.append(Search(way, name, folder, trials))
                disturb(searches[-1], outcome, kills, rng)
                found = differences(calm.run, searches[-1].run)
                outcome.differences += [f"{name}, {each}" for each in found]
                text = f"{way}: {outcome.kills} kills, {len(outcome.differences)} differences"
                CONSOLE.print(text, style="dim")
            outcome.disturbed_s = time.perf_counter() - start
        finally:
            outcome.left = sum(each.end() for each in searches)
    return outcome


def main(arguments: Sequence[str] | None = None) -> None:
    """Kills, resumes and compares, for each way in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each way in")
    parser.add_argument("--trials", type=int, default=24, help="of each search")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--quick", action="store_true", help="4 kills, searches of 8 trials")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    kills, trials = (4, 8) if options.quick else (options.kills, options.trials)
    columns = ("workers killed", "commands killed", "starts", "searches", "different", "left over")
    table = Table("way in", *columns, "undisturbed, s", "killed, s", "kill to result, s")
    goals: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for way in options.ways:
        one = measure(way, kills, trials, options.seed)
        outcomes.append(one)
        numbers = (one.workers, one.commands, one.starts, one.searches, len(one.differences))
        again = f"{statistics.median(one.again_s):.1f}" if one.again_s else ""
        seconds = (f"{one.undisturbed_s:.0f}", f"{one.disturbed_s:.0f}", again)
        table.add_row(way, *map(str, numbers), str(one.left), *seconds)
        for each in one.differences[:_MOST_SHOWN]:
            CONSOLE.print(f"{way}: {each}", style="red")
        goals.append(verdict(f"{way}: differences after {one.kills} kills", numbers[-1], 0))
    CONSOLE.print(table)
    configuration = {"kills": kills, "trials": trials, "seed": options.seed}
    record = {**configuration, "goals": goals, "outcomes": [asdict(each) for each in outcomes]}
    save(options.json, record, {})


if __name__ == "__main__":
    main()
