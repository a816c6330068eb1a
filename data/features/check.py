"""A check of features: what the backbone's own classifier makes of them.

That its accuracy is the published one shows that images were decoded, resized and normalised as
the network expects, and that nothing changed its place on the way to the shards and back.
"""

from __future__ import annotations

import numpy as np
import torch

from raysweep.core.errors import UserError
from raysweep.data.features.backbones import Backbone
from raysweep.data.features.shards import iter_shards

__all__ = ["class_positions", "top1"]


def class_positions(classes: tuple[str, ...], num_outputs: int) -> np.ndarray:
    """Which output of the classifier stands for each class: int64 [classes].

    Classes called by WordNet ids (`n01440764`) are ImageNet's, whichever of them there are;
    otherwise there must be as many classes as outputs, in sorted order.

    Raises:
        UserError: neither is so.
    """
    from timm.data import ImageNetInfo

    wordnet = {name: place for place, name in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    if num_outputs == len(wordnet) and set(classes) <= set(wordnet):
        return np.array([wordnet[name] for name in classes], np.int64)
    if len(classes) == num_outputs:
        return np.arange(num_outputs)
    raise UserError(
        f"--check asks the backbone's own classifier, which has {num_outputs} classes; the images "
        f"have {len(classes)} ({', '.join(classes[:3])} …), not called by ImageNet's WordNet ids"
    )


@torch.inference_mode()
def top1(uri: str, split: str, backbone: Backbone, positions: np.ndarray) -> float:
    """The share of a split's images that the classifier names right, of those with a known class.

    Args:
        uri: the folder of features.
        split: whose images, mirror images and random variants included.
        backbone: the one that made the features.
        positions: from `class_positions`.

    Raises:
        UserError: as `data.shards.iter_shards`.
    """
    right = count = 0
    for rows in iter_shards(uri, split):
        known = np.flatnonzero(rows.labels >= 0)
        if len(known):
            features = torch.from_numpy(rows.features[known]).float()
            found = backbone.classifier(features).argmax(1).numpy()
            right += int((found == positions[rows.labels[known]]).sum())
            count += len(known)
    return right / count if count else float("nan")
