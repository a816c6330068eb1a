"""Batch normalisation for a trained network, with statistics of features or of images.

Each worker measures its share of the shards or images in one pass; their statistics are merged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.cluster.machines.session import ray_session
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import INDEX, Shard, ShardIndex
from raysweep.data.features.shards import read_shard
from raysweep.trainables import checkpoint
from raysweep.trainables.images.backbone_head import ReshapeRows, backbone_head, dense_sites
from raysweep.trainables.images.batchnorm import (
    Change,
    Site,
    insert,
    largest_change,
    measure,
    merge_sites,
)

__all__ = ["Insertion", "insert_into_backbone", "save_network"]

_AT_ONCE = 64
_IMAGES_AT_ONCE = 16


@dataclass(frozen=True)
class _Features:
    """Shards of features."""

    folder: str
    shape: tuple[int, ...]
    shards: Sequence[Shard]

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def share(self, rank: int, workers: int) -> _Features:
        return replace(self, shards=self.shards[rank::workers])

    def batches(self) -> Iterator[Tensor]:
        """Features in float32, a shard in memory at a time."""
        for shard in self.shards:
            rows = torch.from_numpy(read_shard(Storage(self.folder), shard, self.shape).features)
            for part in rows.split(_AT_ONCE):
                yield part.float()


@dataclass(frozen=True)
class _Images:
    """Images, and how they are prepared for the network."""

    root: str
    ids: Sequence[str]
    preprocessing: Any

    def __len__(self) -> int:
        return len(self.ids)

    def share(self, rank: int, workers: int) -> _Images:
        return replace(self, ids=self.ids[rank::workers])

    def batches(self) -> Iterator[Tensor]:
        """Normalised images; those that cannot be read are left out."""
        from raysweep.data.features.backbones import normalised
        from raysweep.data.images.decode import BadImage, decode
        from raysweep.data.images.lists import read_image

        storage = Storage(self.root)
        for start in range(0, len(self.ids), _IMAGES_AT_ONCE):
            decoded = []
            for name in self.ids[start : start + _IMAGES_AT_ONCE]:
                try:
                    blob = read_image(storage, name)
                    decoded.append(decode(blob, self.preprocessing.resize)[0])
                except BadImage:
                    continue
            if decoded:
                pixels = torch.from_numpy(np.stack(decoded))
                yield normalised(pixels, self.preprocessing, torch.float32)


@dataclass(frozen=True)
class Insertion:
    """A network with batch normalisation.

    Attributes:
        network: modules `input` and `head` for features; `body` before them for images.
        names: names of the layers after which it was inserted.
        channels: number of channels at each of them.
        rows: number of rows of features, or of images, that were measured.
        change: of the logits on those rows.
        backbone: name of the network.
        weights_hash: 16 hex digits of its weights up to the features.
    """

    network: nn.Module
    names: tuple[str, ...]
    channels: tuple[int, ...]
    rows: int
    change: Change
    backbone: str
    weights_hash: str


def insert_into_backbone(
    source: str,
    names: Sequence[str] = (),
    *,
    backbone: str = "",
    weights: str = "",
    workers: int = 1,
    address: str | None = None,
    eps: float = 1e-5,
) -> Insertion:
    """Inserts batch normalisation after layers of a pretrained network.

    Statistics are those of `train`, or of everything where there is no such split.

    Args:
        source: a folder of features, for the layers above them; or images, for the whole network.
        names: layers after which to insert; by default after the activation of each dense layer
            but the last, or before the only one.
        backbone: name of the network, for images; features know theirs.
        weights: of the network; for features only if they were moved.
        workers: processes that measure; 1 needs no Ray.
        address: of a Ray cluster, for several workers; this machine by default.
        eps: added to the variance, for numerical stability.

    Returns:
        The network in evaluation mode, whose outputs stay the same up to rounding.

    Raises:
        UserError: there are no features or images, the weights are not those that made the
            features, or there is no such layer.
    """
    data: _Features | _Images
    if Storage(source).exists(INDEX) or not backbone:
        network, data, (name, weights_hash) = _of_features(source, weights)
        if backbone not in ("", name):
            raise UserError(f"the features in {source} are {name}'s; leave --backbone out")
    else:
        network, data, (name, weights_hash) = _of_images(source, backbone, weights or "default")
    names = tuple(names) or tuple(dense_sites(network))
    sites = _measure(network, names, data, workers, address)
    normalised_network = insert(network, sites, eps)
    return Insertion(
        network=normalised_network,
        names=names,
        channels=tuple(len(sites[name].moments.mean) for name in names),
        rows=len(data),
        change=largest_change(network, normalised_network, data.batches()),
        backbone=name,
        weights_hash=weights_hash,
    )


def save_network(insertion: Insertion, folder: str, name: str) -> None:
    """Writes the network as safetensors, with PyTorch's keys and a header that describes it.

    Args:
        insertion: from `insert_into_backbone`.
        folder: by path or URI.
        name: of the file.
    """
    header: dict[str, Any] = {
        "backbone": insertion.backbone,
        "weights_hash": insertion.weights_hash,
        "batchnorm_after": insertion.names,
        "largest_change": asdict(insertion.change),
    }
    checkpoint.save(Storage(folder), name, {"model": insertion.network.state_dict()}, header)


def _of_features(folder: str, weights: str) -> tuple[nn.Sequential, _Features, tuple[str, str]]:
    index = ShardIndex.read(Storage(folder))
    chosen = "train" if index.counts.get("train") else None
    shards = [s for s in index.shards if s.rows and chosen in (None, s.split)]
    if not shards:
        raise UserError(f"{folder} has no features to measure; make some with `raysweep features`")
    data = _Features(folder, index.feature_shape, shards)
    return backbone_head(index, weights), data, (index.backbone, index.weights_hash)


def _of_images(
    images: str, name: str, weights: str
) -> tuple[nn.Sequential, _Images, tuple[str, str]]:
    from raysweep.data.features.backbones import load_backbone
    from raysweep.data.images.lists import list_images

    listed = list_images(images)
    train = "train" in listed.splits
    pairs = zip(listed.ids, listed.splits, strict=True)
    ids = [image for image, split in pairs if split == "train" or not train]
    backbone = load_backbone(name, weights)
    classifier: Any = backbone.classifier
    layers = OrderedDict(
        body=backbone.body, input=ReshapeRows(classifier.shape), head=classifier.head
    )
    data = _Images(listed.root, ids, backbone.preprocessing)
    return nn.Sequential(layers).eval(), data, (name, backbone.weights_hash)


def _measure(
    network: nn.Module,
    names: Sequence[str],
    data: _Features | _Images,
    workers: int,
    address: str | None,
) -> Mapping[str, Site]:
    if workers == 1:
        return measure(network, names, data.batches())
    measure(network, names, [next(data.batches())])  # refuses bad names at once
    with ray_session(address) as ray:
        task = ray.remote(_measure_share)
        shared = ray.put(network)
        shares = [data.share(rank, workers) for rank in range(workers)]
        jobs = [task.remote(shared, names, share) for share in shares if len(share)]
        return merge_sites(ray.get(jobs))


def _measure_share(
    network: nn.Module, names: Sequence[str], data: _Features | _Images
) -> dict[str, Site]:
    return measure(network, names, data.batches())
