"""The first stage of making features: reading and decoding the images of a part.

Tasks of this stage never import PyTorch, so that their processes start quickly and stay small.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.images.augment import Augmentation, variant
from raysweep.data.images.decode import BadImage, Resize, decode
from raysweep.data.images.lists import read_image

__all__ = ["decode_part"]

# Files that one decoding task requests before it needs them; hides the latency of S3.
_READ_AHEAD = 16
_READ_TRIES = 4


def decode_part(
    batch: dict[str, np.ndarray],
    *,
    root: str,
    resize: Resize,
    augmentation: Augmentation,
    seed: int,
    variants: Mapping[str, tuple[int, ...]],
    nice: bool,
) -> dict[str, np.ndarray]:
    """Reads and decodes the m images of one part; a task of Ray Data.

    Args:
        batch: `id`, `split`, `label` and `name`, each [m]; one split and one name.
        root: the folder that ids are relative to, by path or URI.
        resize: how images get their size.
        augmentation: how random variants may differ.
        seed: of the random variants.
        variants: which variants there are of the images of each split; see `shards.Rows`.
        nice: give other processes of the machine precedence.

    Returns:
        The batch with `pixels` uint8 [m, variants, size, size, 3], `height`, `width`, `reason`
        (why an image could not be read, or empty), and the seconds that the part took, `decode_s`
        and `processor_s`, each [m, …].

    Raises:
        UserError: the folder is not there, or the storage fails again and again.
    """
    start, processor = time.perf_counter(), time.process_time()
    if nice:
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, 10))
    storage, split_variants = Storage(root), variants[str(batch["split"][0])]
    count = len(batch["id"])
    pixels = np.zeros((count, len(split_variants), resize.size, resize.size, 3), np.uint8)
    heights, widths = np.zeros(count, np.int32), np.zeros(count, np.int32)
    reasons = [""] * count
    names = [str(name) for name in batch["id"]]
    for number, (name, contents) in enumerate(_read_ahead(storage, names)):
        try:
            image, heights[number], widths[number] = decode(contents.result(), resize)
        except BadImage as error:
            reasons[number] = str(error)
            continue
        for position, k in enumerate(split_variants):
            pixels[number, position] = _variant(image, k, augmentation, seed, name)
    return {
        **batch,
        "pixels": pixels,
        "height": heights,
        "width": widths,
        "reason": np.array(reasons, dtype=object),
        "decode_s": np.full(count, time.perf_counter() - start),
        "processor_s": np.full(count, time.process_time() - processor),
    }


def _variant(
    image: np.ndarray, k: int, augmentation: Augmentation, seed: int, name: str
) -> np.ndarray:
    if k > 0:
        return variant(image, augmentation, seed=seed, image_id=name, k=k)
    return image[:, ::-1] if k < 0 else image


def _read_ahead(storage: Storage, names: list[str]) -> Iterator[tuple[str, Future[bytes]]]:
    """Reads files in their order, a few of them ahead."""
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        waiting: deque[tuple[str, Future[bytes]]] = deque()
        for name in names:
            waiting.append((name, pool.submit(_read, storage, name)))
            if len(waiting) == _READ_AHEAD:
                yield waiting.popleft()
        yield from waiting


def _read(storage: Storage, name: str) -> bytes:
    """Reads a file; tries again where the storage, not the file, is at fault."""
    for trial in range(_READ_TRIES):
        try:
            return read_image(storage, name)
        except (FileNotFoundError, IsADirectoryError):
            if storage.local is not None and not storage.local.is_dir():
                raise UserError(
                    f"{socket.gethostname()} has no folder {storage.uri}; put the images into a "
                    "folder that all machines of the cluster share, or into an object store"
                ) from None
            raise BadImage("no such file") from None
        except PermissionError:
            raise BadImage("reading it is not allowed") from None
        except OSError as error:
            if trial == _READ_TRIES - 1:
                raise UserError(
                    f"cannot read {name} in {storage.uri}: {error}; run the same command again to "
                    "go on where this one ended"
                ) from None
            time.sleep(2.0**trial)
    raise AssertionError("unreachable")
