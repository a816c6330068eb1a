"""A check of features: how accurate the backbone's own classifier is on them.

An accuracy as published shows that images were decoded, resized and normalised as the network
expects, and that features and labels still belong together after the way to the shards and back.
"""

from __future__ import annotations

import numpy as np
import torch

from raysweep.core.errors import UserError
from raysweep.data.features.backbones import Backbone
from raysweep.data.features.shards import iter_shards

__all__ = ["class_positions", "top1"]


def class_positions(classes: tuple[str, ...], num_outputs: int) -> np.ndarray:
    """Finds the output of the classifier that stands for each class.

    Classes named by WordNet ids (`n01440764`) are ImageNet's; any subset of them will do. Otherwise
    there must be as many classes as outputs, in the same order.

    Args:
        classes: names of the classes, in the order of the labels.
        num_outputs: of the classifier.

    Returns:
        Index of each class's output, int64 [classes].

    Raises:
        UserError: the classes are neither ImageNet's nor as many as the outputs.
    """
    from timm.data import ImageNetInfo

    wordnet_ids = ImageNetInfo("imagenet-1k").label_names()
    wordnet = {name: position for position, name in enumerate(wordnet_ids)}
    if num_outputs == len(wordnet) and set(classes) <= set(wordnet):
        return np.array([wordnet[name] for name in classes], np.int64)
    if len(classes) == num_outputs:
        return np.arange(num_outputs)
    raise UserError(
        f"--check uses the backbone's own classifier, which has {num_outputs} classes; the images "
        f"have {len(classes)} ({', '.join(classes[:3])} …), not named by ImageNet's WordNet ids; "
        "leave --check out"
    )


@torch.inference_mode()
def top1(uri: str, split: str, backbone: Backbone, positions: np.ndarray) -> float:
    """Measures the top-1 accuracy of the backbone's classifier on the features of a split.

    Args:
        uri: the folder of features.
        split: whose images to use, mirror images and random variants included.
        backbone: the one that made the features.
        positions: from `class_positions`.

    Returns:
        Accuracy on the rows whose class is known, 0 to 1; NaN where there is no such row.

    Raises:
        UserError: as `shards.iter_shards`.
    """
    num_correct = count = 0
    for rows in iter_shards(uri, split):
        labelled = np.flatnonzero(rows.labels >= 0)
        if len(labelled):
            features = torch.from_numpy(rows.features[labelled]).float()
            predicted = backbone.classifier(features).argmax(1).numpy()  # [m]
            num_correct += int((predicted == positions[rows.labels[labelled]]).sum())
            count += len(labelled)
    return num_correct / count if count else float("nan")
