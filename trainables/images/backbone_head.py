"""A backbone's own dense layers: what stands on top of its features."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from raysweep.data.features.shard_index import ShardIndex

__all__ = ["ReshapeRows", "backbone_head", "dense_layers", "dense_sites"]


class ReshapeRows(nn.Module):
    """Gives features the shape that the dense layers take.

    Args:
        shape: of one row.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, features: Tensor) -> Tensor:
        """Reshapes features [n, ...]."""
        return features.reshape(-1, *self.shape)


def backbone_head(index: ShardIndex, weights: str = "") -> nn.Sequential:
    """The layers after the features: `input` gives them their shape, `head` is the network's own.

    Args:
        index: of the features, which says whose they are.
        weights: where the network's weights are now; where they were by default.

    Raises:
        UserError: the weights cannot be had, or are others than those that made the features.
    """
    from raysweep.data.features.backbones import backbone_of

    backbone = backbone_of(index, weights)
    head, shape = backbone.classifier.head, backbone.classifier.shape
    assert isinstance(head, nn.Module)
    assert isinstance(shape, tuple)
    return nn.Sequential(OrderedDict(input=ReshapeRows(shape), head=head)).eval()


def dense_layers(network: nn.Module) -> list[nn.Linear]:
    """All dense layers, in order."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def dense_sites(network: nn.Sequential) -> list[str]:
    """Where normalisation belongs: after the activation of each dense layer but the last.

    Where there is one dense layer only, before it: after `input`.
    """
    leaves = [(n, m) for n, m in network.named_modules() if not list(m.children())]
    dense = [number for number, (_, m) in enumerate(leaves) if isinstance(m, nn.Linear)]
    sites = []
    for number in dense[:-1]:
        after = leaves[number + 1][1]
        plain = isinstance(after, (nn.Linear, nn.Dropout))
        sites.append(leaves[number if plain else number + 1][0])
    return sites or ["input"]
