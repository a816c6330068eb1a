"""Random variants: reproducible, independent of each other, each field with its own effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raysweep.core.errors import UserError
from raysweep.data.images.augment import Augmentation, variant

NOTHING = Augmentation(rotation=0, shift=0, zoom=0, shear=0, channel_shift=0, mirror=False)
FIELDS: dict[str, Any] = {
    "rotation": 20.0,
    "shift": 0.2,
    "zoom": 0.2,
    "shear": 0.2,
    "channel_shift": 30.0,
    "mirror": True,
}


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth picture without symmetry."""
    y, x = np.mgrid[0:32, 0:32] / 31
    return (np.stack([x, y, x * y], 2) * 200 + 20).astype(np.uint8)


def made(pixels: np.ndarray, augmentation: Augmentation, k: int = 1, **other: Any) -> np.ndarray:
    arguments = {"seed": 0, "image_id": "a.jpg", **other}
    result = variant(pixels, augmentation, k=k, **arguments)
    assert result.shape == pixels.shape
    assert result.dtype == np.uint8
    return result


def test_without_any_field_the_image_stays(pixels: np.ndarray) -> None:
    assert NOTHING.is_identity()
    assert np.array_equal(made(pixels, NOTHING), pixels)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_alone_changes_the_image(field: str, pixels: np.ndarray) -> None:
    augmentation = replace(NOTHING, **{field: FIELDS[field]})
    assert not augmentation.is_identity()
    changed = [not np.array_equal(made(pixels, augmentation, k), pixels) for k in range(1, 9)]
    assert all(changed) if field != "mirror" else 0 < sum(changed) < 8


def test_a_variant_depends_on_seed_image_and_number_alone(pixels: np.ndarray) -> None:
    one = made(pixels, Augmentation())
    assert np.array_equal(one, made(pixels, Augmentation()))
    for other in ({"seed": 1}, {"image_id": "b.jpg"}, {"k": 2}):
        assert not np.array_equal(one, made(pixels, Augmentation(), **other))


def test_mirroring_is_from_left_to_right(pixels: np.ndarray) -> None:
    mirrored = [made(pixels, replace(NOTHING, mirror=True), k) for k in range(1, 9)]
    assert any(np.array_equal(each, pixels[:, ::-1]) for each in mirrored)


def test_a_channel_shift_moves_each_colour_by_as_many_levels_at_most(pixels: np.ndarray) -> None:
    result = made(pixels, replace(NOTHING, channel_shift=10)).astype(int) - pixels
    moves = result.reshape(-1, 3)
    assert (moves == moves[0]).all()
    assert 0 < np.abs(moves[0]).max() <= 10
    assert len(set(moves[0])) > 1


def test_shifts_stay_within_their_share_and_outside_is_the_reflection() -> None:
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2)
    for k in range(1, 6):
        moved = made(ramp, replace(NOTHING, shift=0.1), k)
        assert abs(int(moved[50, 50, 0]) - 50) <= 10
        assert set(np.abs(np.diff(moved[50, :, 0].astype(int)))) <= {0, 1}, "no black border"


def test_zoom_keeps_the_middle(pixels: np.ndarray) -> None:
    zoomed = made(pixels, replace(NOTHING, zoom=0.3))
    assert np.abs(zoomed[15:17, 15:17].astype(int) - pixels[15:17, 15:17]).max() <= 4
    assert not np.array_equal(zoomed, pixels)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rotation", 181.0), ("shift", -0.1), ("zoom", 0.95), ("channel_shift", float("nan"))],
)
def test_values_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')} .* out of range"):
        Augmentation(**{field: value})
