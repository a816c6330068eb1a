"""EfficientNet-Lite0 on real ImageNet images: colours, cropping, scaling and labels fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.backbone_stage import BackboneStage
from raysweep.data.features.backbones import load_backbone
from raysweep.data.features.check import class_positions, top1
from raysweep.data.features.decode_stage import decode_part
from raysweep.data.features.job import FeatureRequest, finish, open_job
from raysweep.data.images.lists import list_images


@pytest.mark.timeout(180)
def test_features_and_the_networks_own_classifier_name_the_images(
    sample: Callable[[str], Path], tmp_path: Path
) -> None:
    imagenet = sample("imagenet")
    sample("efficientnet-lite0")
    listed = list_images(str(imagenet))
    backbone = load_backbone("efficientnet_lite0")
    job = open_job(
        FeatureRequest(images=str(imagenet), backbone="efficientnet_lite0"),
        Storage(tmp_path),
        listed,
        backbone,
    )
    variants = {part.split: part.variants for part in job.parts}
    body = backbone.body.to(torch.bfloat16).to(memory_format=torch.channels_last)
    stage = BackboneStage(
        body, job.preprocessing, torch.bfloat16, 1, str(tmp_path), job.key, variants
    )
    for part in job.parts:
        some = len(part.positions)
        decoded = decode_part(
            {
                "name": np.array([part.name] * some, object),
                "split": np.array([part.split] * some, object),
                "count": np.full(some, some),
                "id": np.array([listed.ids[p] for p in part.positions], object),
                "label": listed.labels[part.positions],
            },
            root=listed.root,
            resize=job.preprocessing.resize,
            augmentation=job.request.augmentation,
            seed=0,
            variants=variants,
            nice=False,
        )
        stage(decoded)
    assert finish(job).num_quarantined == 0
    positions = class_positions(listed.classes, 1000)
    assert top1(str(tmp_path), "val", backbone, positions) >= 0.86


def test_classes_are_found_among_imagenets_or_counted() -> None:
    assert class_positions(("n01440764", "n01484850"), 1000).tolist() == [0, 2]
    assert class_positions(("a", "b"), 2).tolist() == [0, 1]
    with pytest.raises(UserError, match=r"2 \(a, b"):
        class_positions(("a", "b"), 1000)
