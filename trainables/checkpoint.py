"""A trial's state as one safetensors file: tensors by name, the rest as JSON in its header.

Loading never unpickles, the header can be read without the tensors, and one file is replaced
whole, so that a state is there or not there but never half there.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

__all__ = ["drop", "load", "load_header", "save"]

_FIRST_READ = 1 << 16
_LARGEST_HEADER = 100 << 20  # safetensors' own limit


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
    from safetensors.torch import load as from_bytes

    with _damage(storage, name):
        blob = storage.read(name)
        metadata = _metadata(blob)
        header, plain = (dict(json.loads(metadata[key])) for key in ("header", "plain"))
        tensors = from_bytes(blob)
    state: dict[str, Any] = {}
    for path, value in {**plain, **tensors}.items():
        *parents, leaf = path.split("/")
        branch = state
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return state, header


def drop(storage: Storage, name: str, part: str) -> None:
    """Writes a state again without one of its parts, if it has it; raises as `load` does."""
    state, header = load(storage, name)
    if state.pop(part, None) is not None:
        save(storage, name, state, header)


def load_header(storage: Storage, name: str) -> dict[str, Any]:
    """Reads only the header that `save` was given; raises as `load` does."""
    with _damage(storage, name):
        blob = storage.read(name, _FIRST_READ)
        size = _header_size(blob)
        if 8 + size > len(blob):
            blob = storage.read(name, 8 + size)
        return dict(json.loads(_metadata(blob)["header"]))


@contextlib.contextmanager
def _damage(storage: Storage, name: str) -> Iterator[None]:
    """Turns whatever a damaged or foreign file causes into one message."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, TypeError, KeyError, struct.error) as error:
        raise UserError(f"{storage.uri}/{name} is damaged ({error}); delete it to go on") from None


def _header_size(blob: bytes) -> int:
    (size,) = struct.unpack("<Q", blob[:8])
    if size > _LARGEST_HEADER:
        raise ValueError("not a safetensors file")
    return int(size)


def _metadata(blob: bytes) -> dict[str, str]:
    return dict(json.loads(blob[8 : 8 + _header_size(blob)])["__metadata__"])


def _flatten(value: Any, path: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, one in value.items():
            _flatten(one, f"{path}/{key}" if path else str(key), tensors, plain)
    elif isinstance(value, Tensor):
        # The format has no shared memory: tied weights are written twice.
        tensor = value.detach().cpu().contiguous()
        shared = any(tensor.data_ptr() == other.data_ptr() for other in tensors.values())
        tensors[path] = tensor.clone() if shared and tensor.numel() else tensor
    else:
        plain[path] = value
