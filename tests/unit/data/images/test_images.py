"""Decoding: every odd kind of file becomes RGB of the right size and colour, or a plain reason."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raysweep.data.images.decode import BadImage, Resize, decode

SQUASH = Resize(size=16, mode="squash")
CROP = Resize(size=16, mode="crop", shorter=20)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def halves(left: Any, right: Any, mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Any:
    """An image of two colours, side by side."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def colours(blob: bytes, resize: Resize = SQUASH) -> tuple[list[int], list[int]]:
    pixels, _, _ = decode(blob, resize)
    assert pixels.shape == (resize.size, resize.size, 3)
    assert pixels.dtype == np.uint8
    return pixels[8, 1].tolist(), pixels[8, -2].tolist()


def near(found: list[int], wanted: tuple[int, int, int], within: int = 6) -> bool:
    return bool(np.abs(np.array(found) - wanted).max() <= within)


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_usual_files_keep_their_colours_and_size(kind: str) -> None:
    blob = encoded(halves(RED, BLUE), kind)
    left, right = colours(blob)
    assert near(left, RED, 30)
    assert near(right, BLUE, 30)
    assert decode(blob, SQUASH)[1:] == (20, 40), "height, width"


def test_a_cmyk_jpeg_is_converted() -> None:
    # Ink: no cyan, all magenta, all yellow is red; all cyan, all magenta is blue.
    blob = encoded(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG", quality=95)
    left, right = colours(blob)
    assert near(left, RED, 20)
    assert near(right, BLUE, 20)


def test_sixteen_bits_are_scaled_not_cut_off() -> None:
    levels = np.full((20, 40), 0x4000, np.uint16)
    levels[:, 20:] = 0xC0FF
    left, right = colours(encoded(Image.fromarray(levels), "PNG"))
    assert left == [64, 64, 64]
    assert right == [192, 192, 192]


@pytest.mark.parametrize(("high", "wanted"), [(0.5, 127), (200.0, 200), (51200.0, 200)])
def test_floating_point_brightness_is_scaled_by_what_it_can_mean(high: float, wanted: int) -> None:
    levels = np.zeros((20, 40), np.float32)
    levels[:, 20:] = high
    left, right = colours(encoded(Image.fromarray(levels), "TIFF"))
    assert left == [0, 0, 0]
    assert right == [wanted] * 3


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    blob = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert near(colours(blob)[0], RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode: str) -> None:
    image = halves((0, 0, 0, 0), (10, 10, 10, 255), "RGBA")
    options: dict[str, Any] = {}
    if mode == "P":
        image, options = halves(0, 1, "P"), {"transparency": 0}
        image.putpalette([0, 0, 0, 10, 10, 10])
    left, right = colours(encoded(image.convert(mode), "PNG", **options))
    assert left == [255, 255, 255]
    assert near(right, (10, 10, 10))


def test_a_turned_photograph_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is left in the file is above
    blob = encoded(halves(RED, BLUE), "JPEG", exif=exif, quality=95)
    pixels, height, width = decode(blob, SQUASH)
    assert (height, width) == (40, 20)
    assert near(pixels[1, 8].tolist(), RED, 30)
    assert near(pixels[-2, 8].tolist(), BLUE, 30)


def test_squash_shows_all_and_crop_the_middle() -> None:
    image = Image.new("RGB", (100, 20), RED)
    image.paste(BLUE, (40, 0, 60, 20))
    blob = encoded(image, "PNG")
    assert near(colours(blob, SQUASH)[0], RED)
    assert near(colours(blob, CROP)[0], BLUE)


def test_crop_equals_resizing_and_cutting_as_torchvision_does() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (61, 90, 3), dtype=np.uint8))
    resize = Resize(size=16, shorter=20, interpolation="bicubic")
    width = int(20 * 90 / 61)
    large = image.resize((width, 20), Image.Resampling.BICUBIC)
    left = round((width - 16) / 2)
    expected = np.asarray(large.crop((left, 2, left + 16, 18)), np.int16)
    found = decode(encoded(image, "PNG"), resize)[0]
    assert np.abs(found - expected).max() <= 8
    assert np.abs(found - expected).mean() < 1


def test_a_large_jpeg_is_decoded_small_but_measured_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700 * 700)
    blob = encoded(halves(RED, BLUE, size=(960, 640)), "JPEG")
    assert decode(blob, SQUASH)[1:] == (640, 960)
    assert near(colours(blob)[0], RED, 30)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 4) + b"IDAT"


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
JPEG = encoded(NOISE, "JPEG")
PNG = encoded(NOISE, "PNG")
NAN = encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF")
WIDE = encoded(Image.fromarray(np.full((4, 4), 1e9, np.float32)), "TIFF")


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "empty file"),
        (b"just some words\nand more", "not an image: it starts with the text 'just some words'"),
        (b"\xff\x00\xfe\x01" * 9, "not an image: it starts with the bytes ff 00 fe 01"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "damaged|truncated"),
        (JPEG[:20], "not an image|damaged"),
        (PNG[:60] + b"\0" * 20 + PNG[80:], "damaged"),
        (png_header(11_000, 11_000), "too large: 11000 × 11000 pixels"),
        (png_header(60_000, 60_000), "too large"),
        (NAN, "not finite"),
        (WIDE, "no brightness"),
    ],
)
def test_what_cannot_be_read_has_a_reason(blob: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        decode(blob, SQUASH)


def test_a_strip_of_one_pixel_is_cropped_without_becoming_huge() -> None:
    pixels, height, width = decode(encoded(halves(RED, BLUE, size=(20_000, 1)), "PNG"), CROP)
    assert pixels.shape == (16, 16, 3)
    assert (height, width) == (1, 20_000)
