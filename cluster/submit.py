"""Runs a raysweep command on a cluster; `ray submit` copies this one file there.

    ray submit ray_config.yaml cluster/submit.py -- tune sentiment dropout_placement --gpus 1

does on the cluster what `raysweep tune …` does here. `ray submit` joins the arguments with spaces
and has a shell of the head node read them again, so that one with a space or a quote would come
apart. Start this file with the cluster's configuration instead, and each argument arrives as it is:

    python cluster/submit.py ray_config.yaml tune ratings_net l2 --dataset "my films.csv"

Started in this way it also sends your own code, named as `FILE.py:NAME`: the folder of the file
goes to the head, but for what .gitignore and .rayignore name.

    python cluster/submit.py ray_config.yaml tune my_project/my_model.py:Net --search width=16..512

It needs nothing but Python's standard library here; over there, raysweep is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["commands", "main"]

# Of the folder, below the home of the head, in which the command is run there.
_IN = "--in"
_CODE = re.compile(r"(?P<file>[^:]+\.py):(?P<name>\w+)")


def commands(arguments: list[str]) -> list[list[str]]:
    """Ray's commands for a configuration, options of `ray submit` and a raysweep command.

    Args:
        arguments: e.g. `["ray_config.yaml", "--start", "--", "tune", "ratings_net", "l2"]`; without
            a `--` all that follows the configuration is the raysweep command.

    Returns:
        to be run one after the other: what sends the folders of the user's files, and the `ray
        submit`, with every raysweep argument quoted for the shell of the head node.

    Raises:
        ValueError: a file of the user's is not below the working directory.
    """
    config, *rest = arguments
    options: list[str] = []
    if "--" in rest:
        cut = rest.index("--")
        options, rest = rest[:cut], rest[cut + 1 :]
    rest = [_relative(each) for each in rest]
    folders = sorted({str(file.parent) for file in _files(rest) if file.is_file()})
    sending: list[list[str]] = []
    if folders:
        here = Path.cwd()
        key = hashlib.sha256(f"{os.uname().nodename}:{here}".encode()).hexdigest()[:8]
        there = f"submitted/{re.sub('[^A-Za-z0-9_]', '_', here.name)}-{key}"
        if "--start" in options:
            options.remove("--start")
            sending.append(["ray", "up", "-y", config])
        made = " ".join(f"~/{shlex.quote(str(Path(there, folder)))}" for folder in folders)
        sending.append(["ray", "exec", config, f"mkdir -p {made}"])
        for folder in folders:
            to = f"~/{Path(there, folder)}/"
            sending.append(["ray", "rsync-up", config, f"{folder}/", to])
        rest = [_IN, there, *rest]
    script = str(Path(__file__).resolve())
    submit = ["ray", "submit", *options, config, script, "--", *map(shlex.quote, rest)]
    return [*sending, submit]


def _relative(argument: str) -> str:
    """An argument as it is, or a file of the user's by where it is below the working directory."""
    found = _CODE.fullmatch(argument)
    if found is None or not Path(found["file"]).is_file():
        return argument
    file, here = Path(found["file"]).resolve(), Path.cwd().resolve()
    if not file.is_relative_to(here):
        raise ValueError(f"{found['file']} is not below {here}; change to a folder above it")
    return f"{file.relative_to(here)}:{found['name']}"


def _files(arguments: list[str]) -> Iterator[Path]:
    """The files of the user's that arguments name."""
    for each in arguments:
        if found := _CODE.fullmatch(each):
            yield Path(found["file"])


def _submit(arguments: list[str]) -> int:
    """Sends and submits; the exit code is that of what failed, or of the command there."""
    try:
        steps = commands(arguments)
    except ValueError as error:
        print(f"submit: {error}", file=sys.stderr)
        return 2
    for step in steps:
        if code := subprocess.call(step):
            return code
    return 0


def main() -> int:
    """Submits when the first argument is a configuration; otherwise runs the command here."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].endswith((".yaml", ".yml")):
        return _submit(arguments)
    if arguments[:1] == [_IN]:
        os.chdir(Path.home() / arguments[1])
        arguments = arguments[2:]
    for file in _files(arguments):
        if not file.is_file():
            print(
                f"submit: {file} is not in {Path.cwd()} on {os.uname().nodename}; start `python "
                "cluster/submit.py CONFIG.yaml …` instead of `ray submit`, which sends its folder",
                file=sys.stderr,
            )
            return 2
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
