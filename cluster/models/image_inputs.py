"""Images to classify: files, and folders with all images below them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.images.lists import image_names

__all__ = ["find_images"]


def find_images(inputs: Sequence[str]) -> list[str]:
    """Lists the images of files and folders, on this machine or in an object store.

    Args:
        inputs: Files, which are taken whatever their names end with, and folders, whose images are
            those that end as images do (`.jpg`, `.png`, …); hidden ones are left out. An address
            (`s3://bucket/…`) is a file where it ends as images do.

    Returns:
        Paths and addresses, one or more: in the order of `inputs`, a folder's by name.

    Raises:
        UserError: No image is given, a path does not exist, or a folder holds no images.
    """
    if not inputs:
        raise UserError(
            "no image is given; name images or folders of them, e.g. `raysweep predict RUN "
            "photo.jpg holidays/`"
        )
    paths = [_below(path) if _is_folder(path) else [path] for path in inputs]
    return [path for group in paths for path in group]


def _is_folder(given: str) -> bool:
    if "://" in given:
        return not image_names([given.rpartition("/")[2]])
    path = Path(given).expanduser()
    # Unlike Path.exists, it takes what is too long for a path, as a text given by mistake can be.
    if not os.path.exists(path):  # noqa: PTH110
        raise UserError(f"no such image or folder: {given[:200]}; check the path")
    return path.is_dir()


def _below(folder: str) -> list[str]:
    names = image_names(name for name, _ in Storage(folder).files())
    if not names:
        raise UserError(
            f"{folder} holds no images, at any depth; name a folder with files that end with .jpg, "
            ".png or the like, or the files themselves"
        )
    return [os.path.join(folder, name) for name in names]  # noqa: PTH118  (may be an address)
