"""`raysweep batchnorm`: normalisation for a backbone's dense layers."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Address, Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(batchnorm)


def batchnorm(
    features: Annotated[str, typer.Argument(help="Folder of shards by `raysweep features`.")],
    out: Annotated[Path, typer.Argument(help="File for the network, .safetensors.")],
    after: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer to insert it after, e.g. head.1; repeatable. By default after the "
            "activation of each dense layer but the last, or before the only one (`input`)."
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="The backbone's weights, if they are not where they were.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes that measure.", min=1)] = 1,
    address: Address = None,
    json: Json = False,
) -> None:
    """Insert batch normalisation into a backbone's dense layers; its outputs stay as they are.

    Statistics come from the features in one pass. The largest change of any output is measured on
    the same rows and printed beside the outputs' spread.

    Example: raysweep batchnorm features vgg16-normalised.safetensors --after head.1 --after head.4
    """
    from cluster.batchnorm import insert_into_backbone, save_network

    done = insert_into_backbone(
        features, after or (), weights=weights, workers=workers, address=address
    )
    save_network(done, str(out.expanduser().parent), out.name)
    change = done.change
    if json:
        sites = dict(zip(done.names, done.channels, strict=True))
        found = {"rows": done.rows, "channels": sites, "largest_change": change.largest}
        print(json_module.dumps({**found, "spread": change.spread, "file": str(out)}))
        return
    print(f"backbone        {done.index.backbone}, {done.rows:,} rows of features")
    for name, channels in zip(done.names, done.channels, strict=True):
        print(f"inserted after  {name}, {channels:,} channels")
    print(
        f"outputs         largest change {change.largest:.3g}, spread {change.spread:.4g}: ", end=""
    )
    print(f"{change.relative:.2g} of the spread")
    print(f"network         {out}")
