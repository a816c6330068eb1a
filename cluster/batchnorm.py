"""Batch normalisation for a backbone's dense layers, with statistics of features in shards.

Each worker measures its share of the shards in one pass; what they found is merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cluster.session import ray_session
from data.errors import UserError
from data.shards import Shard, ShardIndex, read_shard
from data.storage import Storage
from trainables import checkpoint
from trainables.backbone_head import backbone_head, dense_sites
from trainables.batchnorm import Change, Site, insert, largest_change, measure, merge_sites

__all__ = ["Insertion", "insert_into_backbone", "save_network"]

_AT_ONCE = 64


@dataclass(frozen=True)
class Insertion:
    """A backbone's dense layers with batch normalisation.

    Attributes:
        network: `input`, then `head`; features in, logits out.
        names: the layers after which it was inserted.
        channels: at each of them.
        rows: that were measured.
        change: of the logits on those rows.
        index: of the features.
    """

    network: nn.Module
    names: tuple[str, ...]
    channels: tuple[int, ...]
    rows: int
    change: Change
    index: ShardIndex


def insert_into_backbone(
    folder: str,
    names: Sequence[str] = (),
    *,
    weights: str = "",
    workers: int = 1,
    address: str | None = None,
    eps: float = 1e-5,
) -> Insertion:
    """Inserts batch normalisation after layers of the network that made a folder of features.

    Statistics are those of `train`, or of all rows where there is no such split.

    Args:
        folder: shards of features.
        names: of layers; by default after the activation of each dense layer but the last, or
            before the only one.
        weights: where the network's weights are now.
        workers: processes that measure; 1 needs no Ray.
        address: of a Ray cluster, for several workers.
        eps: of the normalisation.

    Raises:
        UserError: no features there, other weights, or no such layer.
    """
    storage = Storage(folder)
    index = ShardIndex.read(storage)
    head = backbone_head(index, weights)
    names = tuple(names) or tuple(dense_sites(head))
    chosen = "train" if index.counts.get("train") else None
    shards = [s for s in index.shards if s.rows and chosen in (None, s.split)]
    if not shards:
        raise UserError(f"{folder} has no features to measure; make some with `raysweep features`")
    sites = _measure(head, names, folder, index, shards, workers, address)
    network = insert(head, sites, eps)
    change = largest_change(head, network, _batches(storage, index, shards))
    return Insertion(
        network=network,
        names=tuple(names),
        channels=tuple(len(sites[name].moments.mean) for name in names),
        rows=sum(shard.rows for shard in shards),
        change=change,
        index=index,
    )


def save_network(insertion: Insertion, folder: str, name: str) -> None:
    """Writes the network as safetensors, with what it is in the header; keys are PyTorch's."""
    header: dict[str, Any] = {
        "backbone": insertion.index.backbone,
        "weights_hash": insertion.index.weights_hash,
        "feature_shape": insertion.index.feature_shape,
        "classes": insertion.index.classes,
        "batchnorm_after": insertion.names,
        "largest_change": asdict(insertion.change),
    }
    checkpoint.save(Storage(folder), name, {"model": insertion.network.state_dict()}, header)


def _measure(
    head: nn.Module,
    names: Sequence[str],
    folder: str,
    index: ShardIndex,
    shards: Sequence[Shard],
    workers: int,
    address: str | None,
) -> Mapping[str, Site]:
    if workers == 1:
        return measure(head, names, _batches(Storage(folder), index, shards))
    measure(head, names, [torch.zeros(2, *index.feature_shape)])  # refuses bad names at once
    with ray_session(address) as ray:
        task = ray.remote(_measure_share)
        shared = ray.put(head)
        shares = [shards[rank::workers] for rank in range(workers)]
        jobs = [task.remote(shared, names, folder, index, share) for share in shares if share]
        return merge_sites(ray.get(jobs))


def _measure_share(
    head: nn.Module, names: Sequence[str], folder: str, index: ShardIndex, shards: Sequence[Shard]
) -> dict[str, Site]:
    return measure(head, names, _batches(Storage(folder), index, shards))


def _batches(storage: Storage, index: ShardIndex, shards: Sequence[Shard]) -> Iterator[Tensor]:
    """Features in float32, a shard in memory at a time."""
    for shard in shards:
        rows = torch.from_numpy(read_shard(storage, shard, index.feature_shape).features)
        for part in rows.split(_AT_ONCE):
            yield part.float()
