"""Runs another library's searcher: a line of JSON tells it something, or asks for work.

It runs in .venv-rivals, where raysweep is not installed; `methods/remote.py` starts it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

_MODULES = {"optuna": "optuna_tpe", "smac": "smac_hyperband", "bohb": "syne_tune_bohb"}


def main() -> None:
    """Reads lines until there are no more."""
    # What a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    name = _MODULES[settings["searcher"]]
    module = importlib.import_module(f"benchmarks.search_quality.rivals.{name}")
    rival = module.Rival(settings["space"], settings["seed"], settings["max_t"])
    for line in sys.stdin:
        message = json.loads(line)
        do = message.pop("do")
        if do == "next":
            answers.write(json.dumps(rival.next()) + "\n")
            answers.flush()
        else:
            getattr(rival, do)(**message)


if __name__ == "__main__":
    main()
