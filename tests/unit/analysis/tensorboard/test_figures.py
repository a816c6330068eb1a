"""Pictures in TensorBoard, read back as it reads them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raysweep.analysis.tensorboard.writer import FIGURES, figure_events


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_tensorboard_reads_each_picture_once(tmp_path: Path) -> None:
    figures = {"search": png(30, 20), "effects": png(8, 50)}
    for step in (4, 14):  # after an extension, the file is written anew
        (tmp_path / FIGURES).write_bytes(figure_events(figures, step))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["images"]) == ["effects", "search"]
    (shown,) = events.Images("effects")
    assert (shown.step, shown.width, shown.height) == (14, 8, 50)
    assert shown.encoded_image_string == figures["effects"]
