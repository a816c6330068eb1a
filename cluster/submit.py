"""Runs a raysweep command on a cluster; `ray submit` copies this one file there.

    ray submit ray_config.yaml cluster/submit.py -- tune sentiment dropout_placement --gpus 1

does on the cluster what `raysweep tune …` does here. `ray submit` joins the arguments with spaces
and has a shell of the head node read them again, so that one with a space or a quote would come
apart. Start this file with the cluster's configuration instead, and each argument arrives as it is:

    python cluster/submit.py ray_config.yaml tune ratings_net l2 --dataset "my films.csv"

It needs nothing but Python's standard library here; over there, raysweep is installed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

__all__ = ["main", "submission"]


def submission(arguments: list[str]) -> list[str]:
    """The `ray submit` for a configuration, options of `ray submit` and a raysweep command.

    Args:
        arguments: e.g. `["ray_config.yaml", "--start", "--", "tune", "ratings_net", "l2"]`; without
            a `--` all that follows the configuration is the raysweep command.

    Returns:
        the command with every raysweep argument quoted for the shell of the head node.
    """
    config, *rest = arguments
    options: list[str] = []
    if "--" in rest:
        cut = rest.index("--")
        options, rest = rest[:cut], rest[cut + 1 :]
    script = str(Path(__file__).resolve())
    return ["ray", "submit", *options, config, script, "--", *map(shlex.quote, rest)]


def main() -> int:
    """Submits when the first argument is a configuration; otherwise runs the command here."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].endswith((".yaml", ".yml")):
        return subprocess.call(submission(arguments))
    # The launcher exports one thread for everything; trials set their own number.
    os.environ.pop("OMP_NUM_THREADS", None)
    os.environ.setdefault("RAY_ADDRESS", "auto")
    # This file lies in the home folder, where the folder `raysweep` would be taken for the package.
    sys.path = [p for p in sys.path if p and Path(p).resolve() != Path(__file__).resolve().parent]
    try:
        from raysweep.cluster.cli import main as raysweep
    except ImportError as error:
        print(
            f"submit: raysweep is not installed for {sys.executable} on {os.uname().nodename} "
            f"({error}); see setup_commands in the cluster's configuration",
            file=sys.stderr,
        )
        return 2
    sys.argv = ["raysweep", *arguments]
    raysweep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
