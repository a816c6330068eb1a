"""`raysweep doctor`."""

from __future__ import annotations

import typer

from raysweep.cluster.commands.options import Address, StorageRoot

__all__ = ["register"]

_MARKS = {True: "[green]ok[/]     ", None: "[yellow]careful[/]", False: "[red]fails[/]  "}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


def doctor(storage: StorageRoot = "runs", address: Address = None) -> None:
    """Look for what would make a job fail: packages, memory, disk, storage, Ray, data.

    With --address every node of that cluster is asked, too, and whether it reaches the storage.

    Ends with exit code 1 if something will fail.
    """
    from rich.console import Console

    from raysweep.cluster.machines.doctor import examine

    console = Console(soft_wrap=True, highlight=False)
    failed = False
    for check in examine(storage, address):
        console.print(f"{_MARKS[check.ok]} {check.name:20} {check.detail}")
        if check.fix:
            console.print(f"{'':28} → {check.fix}", markup=False)
        failed |= check.ok is False
    raise typer.Exit(1 if failed else 0)
