"""`raysweep ensemble`, `pseudo-label`, `export`, `batchnorm`: uses of heads and backbones."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from raysweep.cluster.commands.options import Address, Json, RunArgument, StorageRoot

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(ensemble)
    app.command("pseudo-label")(pseudo_label)
    app.command()(export)
    app.command()(batchnorm)


def ensemble(
    run: RunArgument = None,
    top: Annotated[int, typer.Option(help="How many of the best trials.", min=1)] = 5,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Average the probabilities of the best heads, and measure that on the validation images.

    Example: raysweep ensemble RUN --top 5
    """
    import dataclasses

    from raysweep.cluster.models.ensemble import measure_ensemble
    from raysweep.cluster.runs.saved_run import open_run

    ensemble = measure_ensemble(open_run(run, storage), top)
    if json:
        print(json_module.dumps(dataclasses.asdict(ensemble)))
        return
    for trial, accuracy in zip(ensemble.trials, ensemble.accuracies, strict=True):
        print(f"trial {trial:<9} validation accuracy {accuracy:.4f}")
    print(
        f"{top} together      validation accuracy {ensemble.accuracy:.4f}, loss {ensemble.loss:.4f}"
    )


def pseudo_label(
    features: Annotated[str, typer.Argument(help="Features of images without a class.")],
    out: Annotated[str, typer.Argument(help="Folder for the labelled rows.")],
    run: Annotated[str | None, typer.Option(help="Run that labels; the newest by default.")] = None,
    top: Annotated[int, typer.Option(help="How many of its best trials.", min=1)] = 1,
    confidence: Annotated[float, typer.Option(help="Least probability of a label.")] = 0.95,
    share: Annotated[
        float, typer.Option(help="Share of all training images that are new, at most.")
    ] = 0.25,
    storage: StorageRoot = "runs",
    json: Json = False,
) -> None:
    """Label images by a run's best heads, where these are sure, to train on them as well.

    Example: raysweep pseudo-label unlabelled extra --run RUN, then raysweep train image_head
    --dataset features --data extra=extra
    """
    from raysweep.cluster.models.ensemble import pseudo_label, write_labelled
    from raysweep.cluster.runs.saved_run import open_run

    labelled = pseudo_label(
        open_run(run, storage), features, top=top, confidence=confidence, share=share
    )
    write_labelled(labelled, out)
    if json:
        counts = {"seen": labelled.seen, "confident": labelled.confident}
        print(json_module.dumps({**counts, "used": len(labelled.rows), "folder": out}))
        return
    print(f"images      {labelled.seen:,}, of {labelled.confident:,} the label is sure enough")
    print(f"labelled    {len(labelled.rows):,}, in {out}")
    print(f"next        raysweep train image_head … --data extra={out}")


def export(
    out: Annotated[Path, typer.Argument(help="File: .pt2, .pt (TorchScript) or .onnx.")],
    run: RunArgument = None,
    weights: Annotated[str, typer.Option(help="The backbone's weights, if they were moved.")] = "",
    storage: StorageRoot = "runs",
) -> None:
    """Write a run's best head and its backbone as one file that works without this project.

    Images go in as they are shown (float32 [n, 3, size, size], 0 to 255), probabilities come out.

    Example: raysweep export model.onnx RUN
    """
    from raysweep.cluster.models.export import export_run
    from raysweep.cluster.runs.saved_run import open_run

    saved = open_run(run, storage)
    inputs = export_run(saved, out, weights)
    print(f"network     {out}, from {saved.storage.uri}")
    print(f"inputs      {', '.join(inputs)}")
    print(f"classes     {', '.join(saved.dataset.info.index.classes[:20])}")


def batchnorm(
    source: Annotated[
        str, typer.Argument(help="Features by `raysweep features`; or images, with --backbone.")
    ],
    out: Annotated[Path, typer.Argument(help="File for the network, .safetensors.")],
    backbone: Annotated[
        str, typer.Option(help="The network, for images; features know theirs.")
    ] = "",
    after: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer to insert it after, e.g. head.1; repeatable. By default after the "
            "activation of each dense layer but the last, or before the only one (`input`)."
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Its weights; for features only if they were moved.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes that measure.", min=1)] = 1,
    address: Address = None,
    json: Json = False,
) -> None:
    """Insert batch normalisation into a trained network; its outputs stay as they are.

    Statistics come from features (for the layers above them) or from images (for any layer, those
    with convolutions among them) in one pass. The largest change of any output is measured on
    the same rows and printed beside the outputs' spread.

    Example: raysweep batchnorm features vgg16-normalised.safetensors --after head.1 --after head.4
    """
    from raysweep.cluster.models.batchnorm import insert_into_backbone, save_network

    insertion = insert_into_backbone(
        source,
        after or (),
        backbone=backbone,
        weights=weights,
        workers=workers,
        address=address,
    )
    save_network(insertion, str(out.expanduser().parent), out.name)
    change = insertion.change
    if json:
        channels_by_layer = dict(zip(insertion.names, insertion.channels, strict=True))
        figures = {"largest_change": change.largest, "spread": change.spread, "file": str(out)}
        print(json_module.dumps({"rows": insertion.rows, "channels": channels_by_layer, **figures}))
        return
    print(f"backbone        {insertion.backbone}, {insertion.rows:,} rows measured")
    for name, channels in zip(insertion.names, insertion.channels, strict=True):
        print(f"inserted after  {name}, {channels:,} channels")
    print(
        f"outputs         largest change {change.largest:.3g}, spread {change.spread:.4g}: ", end=""
    )
    print(f"{change.relative:.2g} of the spread")
    print(f"network         {out}")
