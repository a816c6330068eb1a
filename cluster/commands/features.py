"""`raysweep features`: computes features of images by a pretrained network."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raysweep.cluster.commands.options import Address, Json
from raysweep.core.errors import UserError

if TYPE_CHECKING:
    from raysweep.cluster.features import FeatureResult

__all__ = ["register"]

_NETWORK, _IMAGE, _VARIANTS, _WHERE = "Network", "Image", "More images", "Where"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(features)


def features(
    images: Annotated[
        str,
        typer.Argument(
            help="A folder laid out as split/class/image.jpg or class/image.jpg; a CSV file with "
            "the columns path, label and split; or a known dataset such as dogscats. On this "
            "machine or s3://bucket/folder."
        ),
    ],
    out: Annotated[str, typer.Argument(help="The folder to write, or s3://bucket/folder.")],
    backbone: Annotated[
        str,
        typer.Option(
            help="A classification network of torchvision, efficientnet_lite0, or a model of timm.",
            rich_help_panel=_NETWORK,
        ),
    ] = "vgg16",
    weights: Annotated[
        str,
        typer.Option(
            help="default (the best published), a name such as IMAGENET1K_V1, random, or a file: "
            ".safetensors or a saved state dict.",
            rich_help_panel=_NETWORK,
        ),
    ] = "default",
    precision: Annotated[
        str, typer.Option(help="bfloat16 or float32, of the network.", rich_help_panel=_NETWORK)
    ] = "bfloat16",
    size: Annotated[
        int | None,
        typer.Option(help="Side in pixels; the network's own by default.", rich_help_panel=_IMAGE),
    ] = None,
    resize: Annotated[
        str,
        typer.Option(
            help="crop: the square in the middle, as networks are tested; squash: the whole image, "
            "whatever its proportions.",
            rich_help_panel=_IMAGE,
        ),
    ] = "crop",
    interpolation: Annotated[
        str,
        typer.Option(
            help="bilinear, bicubic, lanczos, box or nearest; the network's own by default.",
            rich_help_panel=_IMAGE,
        ),
    ] = "",
    flip: Annotated[
        bool, typer.Option("--flip", help="Add mirror images.", rich_help_panel=_VARIANTS)
    ] = False,
    augment: Annotated[
        int,
        typer.Option(help="Add so many random variants of each image.", rich_help_panel=_VARIANTS),
    ] = 0,
    rotation: Annotated[
        float, typer.Option(help="Degrees, either way.", rich_help_panel=_VARIANTS)
    ] = 10.0,
    shift: Annotated[
        float, typer.Option(help="Share of the side, either way.", rich_help_panel=_VARIANTS)
    ] = 0.05,
    zoom: Annotated[
        float, typer.Option(help="Share, larger or smaller.", rich_help_panel=_VARIANTS)
    ] = 0.05,
    shear: Annotated[
        float, typer.Option(help="Share of the height, either way.", rich_help_panel=_VARIANTS)
    ] = 0.05,
    channel_shift: Annotated[
        float,
        typer.Option(help="Levels of 255, for red, green and blue.", rich_help_panel=_VARIANTS),
    ] = 10.0,
    mirror: Annotated[
        bool, typer.Option(help="Mirror half of the variants.", rich_help_panel=_VARIANTS)
    ] = True,
    augment_split: Annotated[
        list[str] | None,
        typer.Option(
            help="Splits that get mirror images and variants; train by default. Repeatable.",
            rich_help_panel=_VARIANTS,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seeds variants and random weights.", min=0)] = 0,
    shard_rows: Annotated[int, typer.Option(help="Rows of a shard at most.")] = 128,
    check: Annotated[
        bool,
        typer.Option("--check", help="Also measure the accuracy of the network's own classifier."),
    ] = False,
    cpus: Annotated[
        int | None,
        typer.Option(
            help="Cores of this machine to use; all by default.", min=1, rich_help_panel=_WHERE
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            help="GPUs to use, one process each; all by default, 0 for none.",
            min=0,
            rich_help_panel=_WHERE,
        ),
    ] = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Compute a network's features of images once; heads train on them as often as you like.

    Writes Parquet shards with half-precision features from after the last pooling, index.json that
    says how they were made, and quarantine.jsonl with the images that could not be read, and why.

    Run the same command again to go on after an interruption; nothing is computed twice. A folder
    takes the features of one network, its weights, images and settings only.

    Example: raysweep features dogscats features/dogscats --backbone efficientnet_lite0 --flip
    """
    from raysweep.cluster.features import run_features
    from raysweep.data.features.job import FeatureRequest
    from raysweep.data.images.augment import Augmentation

    request = FeatureRequest(
        images=images,
        backbone=backbone,
        weights=weights,
        seed=seed,
        size=size,
        resize=resize,
        interpolation=interpolation,
        precision=precision,
        flip=flip,
        augment=augment,
        augmentation=Augmentation(
            rotation=rotation,
            shift=shift,
            zoom=zoom,
            shear=shear,
            channel_shift=channel_shift,
            mirror=mirror,
        ),
        augment_splits=tuple(augment_split or ()),
        shard_rows=shard_rows,
    )
    if address is not None and cpus is not None:
        raise UserError(
            "--cpus is for this machine; leave it out with --address, whose cluster has its own"
        )
    try:
        result = run_features(
            request, out, address=address, cpus=cpus, gpus=gpus, check=check, quiet=json
        )
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print(json_module.dumps(result.to_dict()))
    else:
        _show(result)


def _show(result: FeatureResult) -> None:
    index, tally = result.index, result.tally
    rows = sum(index.counts.values())
    counts = ", ".join(f"{split} {count:,}" for split, count in index.counts.items())
    shape = " × ".join(map(str, index.feature_shape))
    per_row = result.num_bytes / max(1, rows) / 1000
    print(f"features     {result.uri}")
    print(f"network      {index.backbone} ({index.weights}), {shape} numbers an image")
    print(f"rows         {counts}; {len(index.classes)} classes")
    print(f"size         {result.num_bytes / 1e6:.1f} MB, {per_row:.1f} KB an image")
    if tally.images:
        print(
            f"speed        {tally.images_per_second:.1f} images/s; bottleneck: {tally.bottleneck}"
        )
    else:
        print("speed        everything was there already")
    for split, accuracy in result.accuracy.items():
        print(f"check        {split}: {accuracy:.2%} right by the network's own classifier")
    if index.num_quarantined:
        print(
            f"quarantine   {index.num_quarantined:,} images could not be read; "
            f"{result.uri}/quarantine.jsonl says why"
        )
