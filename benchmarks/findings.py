"""Answers to the lesson's open questions, run for real: searches, fresh seeds, reports.

    python -m benchmarks.findings                 all three, hours on 2 cores; docs/findings/
    python -m benchmarks.findings dropout         one of them
    python -m benchmarks.findings --print         the commands alone

They are plain commands of raysweep, printed before they run; what was done is not done again. The
test set of each is opened once, by `confirm`, for the default and the search's best.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("docs/findings")
SEARCHES = {
    "ratings": "matrix_factorization l2 embedding_size --num-samples 200",
    "dropout": "sentiment dropout_placement --num-samples 200 --epochs 5",
    "widths": "sentiment filter_widths --num-samples 100 --epochs 4",
}
_INTRODUCTION = """\
# Findings

Three questions that people answer by habit, each answered by a search, five fresh seeds and a
report. All were made by `python -m benchmarks.findings` on 2 CPU cores, which takes hours. You can
repeat any of them with the commands below it.

How to read the answers: a field is named if its 95% interval, widened for the number of fields,
lies on one side of 0. *A hint by itself* passes only without this widening. The numbers in brackets
are what the search does not rule out, so "no difference" with wide brackets means "not known", and
with narrow ones "hardly any". [Reports](../report.md) explains the rest.
"""
# The first of these that a report has stands for it.
_PICTURES = ("placement", "widths", "effect-1")


def commands(name: str) -> list[str]:
    """The commands of a finding, in order."""
    run = f"finding-{name}"
    return [
        f"raysweep tune {SEARCHES[name]} --seed 0 --name {run}",
        f"raysweep confirm {run} --num-seeds 5",
        f"raysweep report {run} --out {FOLDER / name}",
    ]


def index(names: list[str]) -> str:
    """A page that links the reports: each one's question, its answer, a picture, its commands."""
    lines = [_INTRODUCTION]
    for name in names:
        folder = ROOT / FOLDER / name
        report = (folder / "report.md").read_text(encoding="utf-8").splitlines()
        starts = [number for number, line in enumerate(report) if line.startswith("#")]
        question, answer = (report[number].lstrip("# ") for number in starts[:2])
        lines += [f"## {question}", "", f"**{answer}.**", *report[starts[1] + 1 : starts[2]]]
        pictures = [p for kind in _PICTURES for p in sorted(folder.glob(f"{kind}*.png"))]
        lines += [f"![{answer}]({name}/{picture.name})" for picture in pictures[:1]]
        lines += ["", f"[The report]({name}/report.md), made by", "", "```bash"]
        lines += [*commands(name), "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Runs the commands of the findings that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SEARCHES)}; all by default")
    parser.add_argument("--print", action="store_true", help="show the commands and stop")
    options = parser.parse_args()
    names = options.names or list(SEARCHES)
    if unknown := [name for name in names if name not in SEARCHES]:
        parser.error(f"no finding is called {unknown[0]}; there are {', '.join(SEARCHES)}")
    for command in [command for name in names for command in commands(name)]:
        print(f"$ {command}", flush=True)
        if not options.print:
            words = [sys.executable, "-m", "raysweep.cluster.cli", *shlex.split(command)[1:]]
            subprocess.run(words, cwd=ROOT, check=True)
    if not options.print:
        done = [name for name in SEARCHES if (ROOT / FOLDER / name / "report.md").exists()]
        (ROOT / FOLDER / "README.md").write_text(index(done), encoding="utf-8")


if __name__ == "__main__":
    main()
