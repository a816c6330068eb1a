"""Weights of a backbone from a file, without running any code that the file may hold.

Files are read by safetensors, or by PyTorch with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

__all__ = [
    "HEADS",
    "fill",
    "fill_in_order",
    "num_classes",
    "read_weights",
    "weights_hash",
]

# Names that torchvision and timm give the part after the last pooling.
HEADS = ("classifier", "fc", "heads", "head")


def read_weights(uri: str) -> dict[str, Tensor]:
    """Reads a file of weights: `.safetensors`, or what `torch.save` wrote of a state dict.

    A dictionary that holds the state dict under `state_dict` or `model`, and names that begin with
    `module.`, are understood.

    Args:
        uri: the file, on this machine or e.g. `s3://bucket/weights.pth`.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        UserError: there is no such file, or it holds no state dict.
    """
    folder, _, name = uri.rpartition("/")
    try:
        blob = Storage(folder or ("/" if uri.startswith("/") else ".")).read(name)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"--weights {uri}: no such file; check the path") from None
    try:
        state = _parsed(blob, name)
        for key in ("state_dict", "model"):
            if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
                state = state[key]
        if not isinstance(state, Mapping) or not state:
            raise TypeError(f"it holds a {type(state).__name__}")
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("not all of it are tensors")
    except Exception as error:  # unpickling raises anything at all for foreign files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--weights {uri} is no state dict ({reason[:200]}); save one with "
            "torch.save(model.state_dict(), file) or as safetensors"
        ) from None
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _parsed(blob: bytes, name: str) -> Any:
    if name.endswith(".safetensors"):
        from safetensors.torch import load

        return load(blob)
    return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)


def num_classes(state: Mapping[str, Tensor], default: int = 1000) -> int:
    """Returns the number of classes of a state dict's network: the rows of its last matrix.

    Args:
        state: tensors by name, in any order, as safetensors keeps none.
        default: returned where no matrix belongs to a classifier.
    """
    names = [
        name
        for name, value in state.items()
        if name.split(".")[0] in HEADS and name.endswith("weight") and value.ndim >= 2
    ]
    numbered = sorted(names, key=lambda name: [part.zfill(9) for part in name.split(".")])
    return len(state[numbered[-1]]) if numbered else default


def fill(network: nn.Module, state: Mapping[str, Tensor], name: str, uri: str) -> None:
    """Loads a state dict into a network.

    Args:
        network: which gets the weights.
        state: tensors by name.
        name: the network's, for messages.
        uri: where the state dict comes from, for messages.

    Raises:
        UserError: names or shapes differ from the network's; the message says how.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(
            f"--weights {uri} are not those of {name}: {' '.join(lines)[:400]}; "
            "name the network that they belong to with --backbone"
        ) from None


def fill_in_order(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads a state dict whose names differ from the network's but whose order is the same.

    Args:
        network: which gets the weights.
        state: tensors by name, in the network's order.

    Raises:
        UserError: there are more or fewer entries than the network's, or shapes differ.
    """
    expected = network.state_dict()
    pairs = list(zip(expected.items(), state.items(), strict=False))
    wrong = [(a, b) for (a, x), (b, y) in pairs if x.shape != y.shape]
    if len(expected) != len(state) or wrong:
        where = f": {wrong[0][1]} does not fit {wrong[0][0]}" if wrong else ""
        raise UserError(
            f"the weights have {len(state)} entries, the network {len(expected)}{where}; "
            "`raysweep data fetch efficientnet-lite0` fetches the right ones"
        )
    network.load_state_dict({name: value for (name, _), (_, value) in pairs})


def weights_hash(network: nn.Module) -> str:
    """Returns 16 hex digits of all parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in network.state_dict().items():
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)};".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
