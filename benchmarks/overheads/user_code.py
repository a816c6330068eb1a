"""What a trial of a user's own function costs, beside Ray Tune alone; and thousands of them.

python -m benchmarks.overheads.user_code                     # 10,000 trials of a second: hours
python -m benchmarks.overheads.user_code --quick             # 320 of them
python -m benchmarks.overheads.user_code --quick --only empty

Two parts. Trials of a function that only reports: what each adds, from the end of the first trial
to the end of the last. And trials of a second over 16 slots, which are bookkeeping (the machine may
have fewer cores), as in Ray's `release/tune_tests/scalability_tests`, `test_bookkeeping_overhead`:
10,000 of them, for which 16 cores of Ray's own took at most 1.28 of the time without any overhead.
Then the same search with raysweep, killed in the middle and run again: the table must be the same.

Ray Tune starts a process for each trial by default and has an option to reuse them; raysweep does.
Both are shown. With a process a trial, fewer trials are enough to see what one adds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from benchmarks.harness import (
    CONSOLE,
    Contestant,
    Timed,
    environment,
    in_turns,
    run,
    save,
    scratch,
    spread,
    verdict,
)

_MODULE = "benchmarks.user_code.trials"
_BY_DEFAULT = Contestant(
    "raysweep, TPE and ASHA", _MODULE, ("--by", "raysweep", "--searcher", "tpe")
)
_RAYSWEEP = Contestant("raysweep, random search", _MODULE, ("--by", "raysweep"))
_RAY_TUNE = Contestant("Ray Tune, a process a trial", _MODULE, ("--by", "ray_tune"))
_REUSING = Contestant("Ray Tune, processes reused", _MODULE, ("--by", "ray_tune", "--reuse"))
_SLOTS, _SECOND = 16, 1.0
_GOAL_S, _GOAL_RATIO = 0.15, 1.0
_FEWER = 5  # trials where each has a process of its own: one in so many
_SILENT_S = 600.0

Runs = dict[str, list[Timed]]


def empty_trials(inputs: Path, trials: int, rounds: int) -> tuple[Runs, list[dict[str, Any]]]:
    """Trials that only report, as many at a time as the machine has cores."""
    contestants = [
        _with(_BY_DEFAULT, "--trials", trials),
        _with(_RAYSWEEP, "--trials", trials),
        _with(_REUSING, "--trials", trials),
        _with(_RAY_TUNE, "--trials", max(4, trials // _FEWER)),
    ]
    runs = in_turns(contestants, inputs, rounds)
    table = Table(
        "a trial that only reports", "adds, s", "more than Ray Tune, s", "than reusing, s"
    )
    goals = []
    for contestant in contestants:
        more = [_more(runs, contestant, other) for other in (_RAY_TUNE, _REUSING)]
        cells = (spread(values, digits=3) for values in (_trial_s(runs, contestant), *more))
        table.add_row(contestant.name, *cells)
        if contestant.arguments[1] == "raysweep":
            name = f"{contestant.name}: more than Ray Tune with its defaults"
            goals.append(verdict(name, statistics.median(more[0]), _GOAL_S, " s a trial"))
            name = f"{contestant.name}: more than Ray Tune with processes reused"
            goals.append(verdict(name, statistics.median(more[1]), _GOAL_S, " s a trial"))
    CONSOLE.print(table)
    return runs, goals


def seconds(inputs: Path, trials: int, rounds: int) -> tuple[Runs, list[dict[str, Any]]]:
    """Trials of a second over 16 slots; in the end with a kill in the middle."""
    size = ("--function", "sleep", "--slots", str(_SLOTS))
    contestants = [
        _with(_RAYSWEEP, *size, "--trials", trials),
        _with(_REUSING, *size, "--trials", trials),
        _with(_RAY_TUNE, *size, "--trials", max(2 * _SLOTS, trials // _FEWER)),
    ]
    runs = in_turns(contestants, inputs, rounds)
    table = Table("1 s over 16 slots", "trials", "s a trial", "of 1/16 s", "of reusing", "whole, s")
    reusing = _trial_s(runs, _REUSING)
    goals = []
    for contestant in contestants:
        values = _trial_s(runs, contestant)
        those = runs[contestant.name]
        ratios = [a / b for a, b in zip(values, reusing, strict=True)]
        table.add_row(
            contestant.name,
            str(those[0].answer["num_trials"]),
            spread(values, digits=3),
            spread([value / (_SECOND / _SLOTS) for value in values]),
            spread(ratios),
            spread([one.answer["search_s"] for one in those], digits=0),
        )
        if contestant.arguments[1] == "raysweep":
            name = f"trials of 1 s over {_SLOTS} slots, of Ray Tune's time with processes reused"
            goals.append(verdict(name, statistics.median(ratios), _GOAL_RATIO))
    CONSOLE.print(table)
    whole = runs[_RAYSWEEP.name][0].answer
    again = killed(contestants[0], inputs, trials // 2)
    same = whole["table"] == again.answer["table"]
    CONSOLE.print(
        f"killed after {trials // 2} trials and run again: {again.seconds:.0f} s in all, "
        f"{again.answer['num_trials']} trials ended in the second part"
    )
    runs["raysweep, killed in the middle"] = [again]
    goals.append(verdict("tables that a kill in the middle changed", float(not same), 0))
    return runs, goals


def killed(contestant: Contestant, inputs: Path, after: int) -> Timed:
    """Kills a search by raysweep with -9 when so many trials have ended; runs it again.

    Raises:
        RuntimeError: it ended before, hung, or failed when it was run again.
    """
    with scratch() as kept:
        folder = kept / "p"
        shutil.copytree(inputs, folder)
        load = os.getloadavg()[0]
        start = time.perf_counter()
        process = psutil.Popen(
            [*contestant.command, str(folder), *contestant.arguments],
            env=environment(contestant, kept, seed=0),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ledger = folder / "runs" / "trials" / "ledger.jsonl"
        try:
            while not ledger.exists() or ledger.read_text().count('"event": "end"') < after:
                late = time.perf_counter() - start > _SILENT_S + after
                if late or process.poll() is not None:
                    raise RuntimeError(f"{after} trials did not end before the search did, or hung")
                time.sleep(0.2)
        finally:
            tree = process.children(recursive=True) if process.poll() is None else []
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for left in psutil.wait_procs(tree, timeout=10)[1]:
                left.kill()
        done = run(contestant, folder)
        return replace(done, seconds=time.perf_counter() - start, load=(load, done.load[1]))


def _with(contestant: Contestant, *arguments: object) -> Contestant:
    return replace(contestant, arguments=(*contestant.arguments, *map(str, arguments)))


def _trial_s(runs: Runs, contestant: Contestant) -> list[float]:
    return [one.answer["trial_s"] for one in runs[contestant.name]]


def _more(runs: Runs, contestant: Contestant, other: Contestant) -> list[float]:
    pairs = zip(_trial_s(runs, contestant), _trial_s(runs, other), strict=True)
    return [a - b for a, b in pairs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both parts in turns and compares."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000, help="of a second each")
    parser.add_argument("--empty-trials", type=int, default=200, help="of the other part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("empty", "seconds"), help="one of the parts")
    parser.add_argument("--quick", action="store_true", help="320 and 60 trials, one round")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    if options.quick:
        options.trials, options.empty_trials, options.rounds = 320, 60, 1
    parts = {
        "empty": (empty_trials, options.empty_trials),
        "seconds": (seconds, options.trials),
    }
    record: dict[str, Any] = {"goals": []}
    every: Runs = {}
    with scratch() as inputs:
        for name, (measure, trials) in parts.items():
            if options.only in (None, name):
                record[f"{name}_trials"] = trials
                runs, goals = measure(inputs, trials, options.rounds)
                record["goals"] += goals
                every |= {f"{name}: {who}": those for who, those in runs.items()}
    CONSOLE.print(f"load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    save(options.json, record, every)


if __name__ == "__main__":
    main()
