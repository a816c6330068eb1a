"""Random variants of an image: turned, shifted, zoomed, sheared, recoloured, mirrored.

    pixels = variant(pixels, Augmentation(rotation=10, shift=0.05), seed=0, image_id="a.jpg", k=1)

A variant depends on (seed, image, k) alone: it is the same on every machine and in every order of
work. Every field draws its own random numbers, so that changing one leaves the others' as they are.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields

import numpy as np

from raysweep.core.errors import UserError

__all__ = ["Augmentation", "variant"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """By how much a variant may differ; each draw is uniform between minus and plus the field.

    The defaults are those with which the published results on dogs v cats were made.

    Attributes:
        rotation: degrees, 0 to 180.
        shift: share of the image's side, along each axis, 0 to 1.
        zoom: share by which it is larger or smaller, 0 to 0.9.
        shear: share of the height by which the top is moved against the bottom, 0 to 1.
        channel_shift: levels of 255 added to each of red, green and blue, 0 to 255.
        mirror: whether half of the variants are mirrored, left to right.

    Raises:
        UserError: a field is out of its range.
    """

    rotation: float = 10.0
    shift: float = 0.05
    zoom: float = 0.05
    shear: float = 0.05
    channel_shift: float = 10.0
    mirror: bool = True

    def __post_init__(self) -> None:
        limits = {"rotation": 180.0, "shift": 1.0, "zoom": 0.9, "shear": 1.0, "channel_shift": 255}
        for name, high in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= high:
                option = name.replace("_", "-")
                raise UserError(f"--{option} {value:g} is out of range; use 0 to {high:g}")

    def is_identity(self) -> bool:
        """Returns whether every variant would be the image itself."""
        return not any(getattr(self, field.name) for field in fields(self))


def variant(
    pixels: np.ndarray, augmentation: Augmentation, *, seed: int, image_id: str, k: int
) -> np.ndarray:
    """Makes the k-th random variant of an image.

    Args:
        pixels: uint8 [height, width, 3].
        augmentation: by how much it may differ.
        seed: seed of all variants.
        image_id: the image's id; each image has its own random numbers.
        k: number of the variant, from 1.

    Returns:
        uint8 [height, width, 3]; what lies outside the image is its reflection.
    """
    key = hashlib.blake2b(image_id.encode(errors="surrogatepass"), digest_size=8).digest()
    rng = np.random.default_rng([seed, int.from_bytes(key, "little"), k])
    draws = rng.uniform(-1.0, 1.0, size=9)
    if augmentation.mirror and draws[8] < 0:
        pixels = pixels[:, ::-1]
    moved = _moved(pixels, _matrix(augmentation, draws, pixels.shape[1], pixels.shape[0]))
    colours = np.rint(draws[5:8] * augmentation.channel_shift).astype(np.int16)
    return np.clip(moved + colours, 0, 255).astype(np.uint8)


def _matrix(augmentation: Augmentation, draws: np.ndarray, width: int, height: int) -> np.ndarray:
    """The affine map [2, 3] from pixels of the result to pixels of the image, around its middle."""
    angle = math.radians(augmentation.rotation) * draws[0]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1.0, augmentation.shear * draws[3]], [0.0, 1.0]])
    linear = turn @ shear / (1.0 + augmentation.zoom * draws[4])
    middle = np.array([width / 2, height / 2])
    shift = augmentation.shift * draws[1:3] * [width, height]
    return np.column_stack([linear, middle - linear @ middle - shift])


def _moved(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Applies the matrix with bilinear interpolation, on an image continued by reflection."""
    from PIL import Image

    height, width = pixels.shape[:2]
    if np.array_equal(matrix, np.eye(2, 3)):
        return np.asarray(pixels, np.int16)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]).T
    reach = matrix @ corners
    outside = max(-reach.min(), (reach[0] - width).max(), (reach[1] - height).max(), 0.0)
    margin = math.ceil(outside) + 1
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    coefficients = [*matrix[0, :2], matrix[0, 2] + margin, *matrix[1, :2], matrix[1, 2] + margin]
    moved = Image.fromarray(padded).transform(
        (width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(moved, np.int16)
