"""Decodes an image to an array of the size that a network takes, or says why it cannot.

What can be shown as RGB is converted: palettes, grey, CMYK, 16 bits, transparency (on white), the
first frame of an animation, EXIF orientation. Everything else raises `BadImage` with a reason that
a person understands.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["INTERPOLATIONS", "RESIZES", "BadImage", "Resize", "decode"]

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "box", "nearest")
RESIZES = ("crop", "squash")
_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La"}


class BadImage(Exception):  # noqa: N818  (a finding about a file, not a defect)
    """The bytes cannot be made an RGB image; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """How an image of any size becomes one of the network's.

    Attributes:
        size: pixels of the result, which is square.
        mode: `squash` takes the whole image and ignores its proportions; `crop` makes the shorter
            side `shorter` long and takes the square in the middle.
        shorter: pixels, for `crop`; at least `size`.
        interpolation: one of `INTERPOLATIONS`; always with antialiasing.
    """

    size: int = 224
    mode: str = "crop"
    shorter: int = 256
    interpolation: str = "bilinear"

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of the image that is shown: (left, top, right, bottom) in its pixels.

        Resizing only this part computes the same pixels as resizing all and cutting the middle out
        (torchvision's `Resize` and `CenterCrop`, with their rounding), in less time, and without
        the huge image that a strip of 1 × 10,000 pixels would become.
        """
        if self.mode == "squash":
            return 0.0, 0.0, float(width), float(height)
        short = min(width, height)
        scaled = [int(self.shorter * side / short) for side in (width, height)]
        left, top = (round((side - self.size) / 2) for side in scaled)
        x, y = width / scaled[0], height / scaled[1]
        return left * x, top * y, (left + self.size) * x, (top + self.size) * y


def decode(blob: bytes, resize: Resize) -> tuple[np.ndarray, int, int]:
    """Decodes and resizes one image.

    A JPEG at least four times larger than needed is decoded at a fraction of its size, which is
    several times faster and shows the same picture.

    Args:
        blob: the file's contents.
        resize: to which size, and how.

    Returns:
        RGB as uint8 [size, size, 3], and height and width of the original image in pixels, the way
        up that it is shown.

    Raises:
        BadImage: the file is empty, no image, truncated, damaged or too large.
    """
    from PIL import Image, ImageOps

    if not blob:
        raise BadImage("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = Image.open(io.BytesIO(blob))
            width, height = image.size
            _shrink(image, resize)
            image.load()
            turned = ImageOps.exif_transpose(image)
            if image.getexif().get(0x0112, 1) >= 5:  # turned by 90 degrees
                width, height = height, width
            rgb = _to_rgb(turned)
        method = Image.Resampling[resize.interpolation.upper()]
        shown = rgb.resize((resize.size, resize.size), method, box=resize.box(*rgb.size))
        return np.asarray(shown), height, width
    except BadImage:
        raise
    except Image.UnidentifiedImageError:
        raise BadImage(f"not an image: {_looks_like(blob)}") from None
    except Image.DecompressionBombError as error:
        raise BadImage(f"too large: {error}; shrink it") from None
    except MemoryError:
        raise BadImage("too large for this machine's memory; shrink it") from None
    except Exception as error:  # decoders raise anything at all for damaged files
        raise BadImage(f"damaged: {error or type(error).__name__}") from None


def _shrink(image: Any, resize: Resize) -> None:
    """Decodes a JPEG at a half to an eighth of its size; refuses other images that are huge."""
    from PIL import Image

    width, height = image.size
    needed = 2 * (resize.shorter if resize.mode == "crop" else resize.size)
    scale = min(width, height) / needed
    if image.format == "JPEG" and scale >= 2:
        image.draft(None, (int(width / scale), int(height / scale)))
    pixels, limit = image.size[0] * image.size[1], Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise BadImage(
            f"too large: {width} × {height} pixels are more than {limit / 1e6:.0f} million; "
            "shrink it"
        )


def _to_rgb(image: Any) -> Image:
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(image))
    if image.mode in _ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    rgb: Image.Image = image.convert("RGB")
    return rgb


def _eight_bits(image: Any) -> np.ndarray:
    """Grey of 16 or 32 bits as uint8; its largest value decides what white is: 1, 255 or 65535."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise BadImage("its pixels are not finite numbers")
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        return np.asarray(values >> 8, np.uint8)
    if low < 0 or high > 65535:
        raise BadImage(f"its pixels range from {low:g} to {high:g}, which is no brightness")
    if image.mode == "F" and high <= 1:
        return np.asarray(values * 255.0, np.uint8)
    return np.asarray(values * (1.0 if high <= 255 else 1 / 256), np.uint8)


def _looks_like(blob: bytes) -> str:
    start = blob[:200]
    try:
        text = start.decode().split("\n", 1)[0][:40]
    except UnicodeDecodeError:
        return f"it starts with the bytes {start[:8].hex(' ')}"
    return f"it starts with the text {text!r}"
