"""A trial's state as one safetensors file: tensors by name, the rest as JSON in its header.

Loading never unpickles, the header can be read without the tensors, and one file is replaced
whole, so that a state is there or not there but never half there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from data.errors import UserError
from data.storage import Storage

__all__ = ["load", "load_header", "save"]

_FIRST_READ = 1 << 16


def save(storage: Storage, name: str, state: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Writes nested dictionaries of tensors and plain values.

    Args:
        storage: the folder.
        name: the file's name in it.
        state: nested dictionaries with string or int keys; leaves are tensors or JSON values.
        header: JSON values that `load_header` returns without reading the tensors.
    """
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    _flatten(state, "", tensors, plain)
    metadata = {"header": json.dumps(header), "plain": json.dumps(plain)}
    storage.write(name, to_bytes(tensors, metadata=metadata))


def load(storage: Storage, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads (state, header) as `save` was given them; keys of the state are strings.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is not whole or not a state.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    blob = storage.read(name)
    try:
        metadata = _metadata(blob)
        tensors = from_bytes(blob)
    except (SafetensorError, ValueError, KeyError, struct.error) as error:
        raise UserError(f"{storage.uri}/{name} is damaged ({error}); delete it to go on") from None
    state: dict[str, Any] = {}
    for path, value in {**json.loads(metadata["plain"]), **tensors}.items():
        *parents, leaf = path.split("/")
        place = state
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return state, json.loads(metadata["header"])


def load_header(storage: Storage, name: str) -> dict[str, Any]:
    """Reads only the header that `save` was given; raises as `load` does."""
    blob = storage.read(name, _FIRST_READ)
    try:
        (size,) = struct.unpack("<Q", blob[:8])
        if 8 + size > len(blob):
            blob = storage.read(name, 8 + size)
        return dict(json.loads(_metadata(blob)["header"]))
    except (ValueError, KeyError, struct.error) as error:
        raise UserError(f"{storage.uri}/{name} is damaged ({error}); delete it to go on") from None


def _metadata(blob: bytes) -> dict[str, str]:
    (size,) = struct.unpack("<Q", blob[:8])
    return dict(json.loads(blob[8 : 8 + size])["__metadata__"])


def _flatten(value: Any, path: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, one in value.items():
            _flatten(one, f"{path}/{key}" if path else str(key), tensors, plain)
    elif isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous()
    else:
        plain[path] = value
