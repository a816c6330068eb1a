"""`raysweep reproduce`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from raysweep.cluster.commands.options import Address, Json, StorageRoot
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.analysis.reference import Reference
    from raysweep.cluster.reproduce import Outcome

__all__ = ["register"]

_SEEDS, _QUICK_SEEDS = 3, 2
_WIDE = 200  # a narrow terminal breaks long lines, which is better than cells in pieces


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(reproduce)


def reproduce(
    group: Annotated[
        str, typer.Argument(help="ratings, text, images or all published results.")
    ] = "all",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Under 10 minutes on 2 cores: fewer seeds, shorter training."),
    ] = False,
    num_seeds: Annotated[
        int | None, typer.Option(help="Seeds of each; 3 by default, 2 with --quick.", min=2)
    ] = None,
    storage: StorageRoot = "runs",
    address: Address = None,
    json: Json = False,
) -> None:
    """Train the architectures of published results; print the published figures beside ours.

    Each is trained as published, and by the settings that we recommend. Our figures are on the test
    set, means over seeds with 95% intervals. Data that are not at hand are named, with how to get
    them, and the rest goes on. The same command again repeats nothing.

    Example: raysweep reproduce text --quick
    """
    import json as json_module
    from dataclasses import asdict

    from raysweep.cluster import reproduce as work
    from raysweep.core.storage import Storage

    references = work.chosen(group)
    folder = Storage(storage) / ("reproduce-quick" if quick else "reproduce")

    def show(reference: Reference, outcome: Outcome) -> None:
        if not json:
            text = outcome.missing if outcome.mean is None else work.figure(outcome)
            print(f"{outcome.reference}, {outcome.recipe}: {text}", flush=True)

    try:
        outcomes = work.reproduce(
            references,
            folder,
            num_seeds=num_seeds or (_QUICK_SEEDS if quick else _SEEDS),
            quick=quick,
            address=address,
            on_outcome=show,
            quiet=json,
        )
    except KeyboardInterrupt:
        raise UserError("interrupted; the same command goes on with what is missing") from None
    if json:
        print(json_module.dumps([asdict(outcome) for _, outcome in outcomes]))
        return
    _print(outcomes)
    print(f"written to {folder.uri}/{work.RESULTS} and reproduce.md")


def _print(outcomes: Sequence[tuple[Reference, Outcome]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from raysweep.cluster import reproduce as work

    console = Console(highlight=False, width=_WIDE)
    table = Table(box=None, pad_edge=False)
    for name in ("network", "metric", "published", "ours", "how", "seeds", "s a seed"):
        table.add_column(name, justify="left" if name in ("network", "how") else "right")
    for reference, outcome in outcomes:
        how = outcome.recipe + (f" ({outcome.shortened})" if outcome.shortened else "")
        table.add_row(
            reference.title,
            reference.metric,
            work.published(reference),
            work.figure(outcome),
            how,
            str(outcome.num_seeds or "–"),
            f"{outcome.seconds:.0f}" if outcome.mean is not None else "–",
        )
    console.print(table)
    machine = work.hardware()
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    console.print(f"mean ± 95% interval on the test set; {machine['processor']}, "
                  f"{machine['cores']} cores, {gpus}", markup=False)  # fmt: skip
