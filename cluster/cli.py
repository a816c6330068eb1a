"""The `raysweep` command. Thin: each command parses, validates and calls what does the work."""

from __future__ import annotations

import gc
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from raysweep.cluster.commands import (
    check,
    data,
    doctor,
    features,
    images,
    ratings,
    report,
    reproduce,
    runs,
    search,
    texts,
)
from raysweep.cluster.commands.predict import command as predict
from raysweep.core.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="raysweep",
    help="Hyperparameter search and training on Ray: ratings, text, images.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for commands in (
    search,
    check,
    runs,
    report,
    reproduce,
    predict,
    features,
    ratings,
    texts,
    images,
    doctor,
):
    commands.register(app)
app.add_typer(data.app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"raysweep {version('raysweep')}")
        except PackageNotFoundError:
            typer.echo("raysweep, from a folder where it is not installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options of `raysweep` itself."""


def main() -> None:
    """Runs the command line: 0 done, 1 a defect of ours, 2 an error that the user can fix."""
    # Also for the workers, which inherit it: warnings of libraries are nothing that a user can fix.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    try:
        app()
    except UserError as error:
        print(f"raysweep: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("raysweep: interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"raysweep: {_explain(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        # At its end Python would look through all of PyTorch's objects once more: half a second.
        gc.freeze()


def _explain(error: OSError) -> str:
    """A full disk or a forbidden folder is the user's to fix, and no traceback helps."""
    where = f" ({error.filename})" if error.filename else ""
    fix = {28: "; free some space and run the same command again"}.get(error.errno or 0, "")
    return f"{error.strerror or error}{where}{fix}"


if __name__ == "__main__":
    main()
