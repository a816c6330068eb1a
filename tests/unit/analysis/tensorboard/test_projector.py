"""Projector files, read back by TensorBoard's own plugin."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from raysweep.analysis.tensorboard.projector import write_projector
from raysweep.core.errors import UserError

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
WITH_NAN = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, VECTORS)
TITLES = ["Fargo", "tab\there", "two\r\nlines\u2028and\x0bmore", " "]


class Projector:
    """The plugin on a log directory, as TensorBoard sets it up."""

    def __init__(self, logdir: Path) -> None:
        multiplexer = EventMultiplexer()
        multiplexer.AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        provider = MultiplexerDataProvider(multiplexer, str(logdir))
        context = base_plugin.TBContext(data_provider=provider, logdir=str(logdir))
        self.apps = ProjectorPlugin(context).get_plugin_apps()

    def get(self, route: str, **query: str) -> Any:
        return Client(self.apps[route]).get("/", query_string=query)

    def tensor(self, run: str, name: str) -> np.ndarray:
        return np.frombuffer(self.get("/tensor", run=run, name=name).data, np.float32)

    def lines(self, run: str, name: str) -> list[str]:
        return self.get("/metadata", run=run, name=name).text.removesuffix("\n").split("\n")


def test_tensorboard_finds_vectors_and_labels_in_a_folder_without_events(tmp_path: Path) -> None:
    columns = {"title": TITLES, "num\tratings": ["4", "3", "", "1"]}
    write_projector(tmp_path / "run" / "trial_0", "items", VECTORS, columns)
    projector = Projector(tmp_path)
    assert projector.get("/runs").json == ["run/trial_0"]
    (info,) = projector.get("/info", run="run/trial_0").json["embeddings"]
    assert (info["tensorName"], info["tensorShape"]) == ("items", [4, 3])
    np.testing.assert_array_equal(projector.tensor("run/trial_0", "items"), VECTORS.ravel())
    assert projector.lines("run/trial_0", "items") == [
        "title\tnum ratings",
        "Fargo\t4",
        "tab here\t3",
        "two lines and more\t(none)",
        "(none)\t1",
    ]


def test_one_column_has_no_header_and_no_blank_line(tmp_path: Path) -> None:
    write_projector(tmp_path, "items", VECTORS, {"title": TITLES})
    lines = Projector(tmp_path).lines(".", "items")
    assert lines == ["Fargo", "tab here", "two lines and more", "(none)"]


def test_a_second_name_keeps_the_first_and_the_same_name_replaces(tmp_path: Path) -> None:
    write_projector(tmp_path, "items", VECTORS, {"title": TITLES})
    write_projector(tmp_path, "users", VECTORS[:2, :1], {})
    write_projector(tmp_path, "items", 2 * VECTORS, {"title": TITLES})
    projector = Projector(tmp_path)
    embeddings = projector.get("/info", run=".").json["embeddings"]
    assert [e["tensorName"] for e in embeddings] == ["users", "items"]
    np.testing.assert_array_equal(projector.tensor(".", "items"), 2 * VECTORS.ravel())
    np.testing.assert_array_equal(projector.tensor(".", "users"), VECTORS[:2, 0])


def test_pictures_are_one_sheet_that_the_plugin_serves(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    write_projector(tmp_path, "items", VECTORS, {"title": TITLES}, pictures)
    projector = Projector(tmp_path)
    (info,) = projector.get("/info", run=".").json["embeddings"]
    assert info["sprite"]["singleImageDim"] == [8, 6], "width and height"
    answer = projector.get("/sprite_image", run=".", name="items")
    assert answer.content_type == "image/png"
    sheet = np.asarray(Image.open(io.BytesIO(answer.data)))
    np.testing.assert_array_equal(sheet[6:, :8], pictures[2])
    with pytest.raises(UserError, match="4 pictures of 5000 x 1 pixels"):
        write_projector(tmp_path, "items", VECTORS, {}, np.zeros((4, 1, 5000, 3), np.uint8))


def test_keeps_the_event_file_that_a_trial_has(tmp_path: Path) -> None:
    events = tmp_path / "events.out.tfevents.1.host"
    events.write_bytes(b"")
    write_projector(tmp_path, "items", VECTORS, {})
    assert list(tmp_path.glob("*tfevents*")) == [events]
    assert not list(tmp_path.glob(".*"))  # temporary files


def test_extreme_numbers_survive(tmp_path: Path) -> None:
    info = np.finfo(np.float32)
    vectors = np.array([[info.max, info.tiny, -info.max], [1 / 3, -0.0, 1e-40]], np.float32)
    write_projector(tmp_path, "x", vectors.astype(np.float64), {})
    np.testing.assert_array_equal(Projector(tmp_path).tensor(".", "x"), vectors.ravel())


@pytest.mark.parametrize(
    ("name", "vectors", "metadata", "message"),
    [
        ("../items", VECTORS, {}, "letters"),
        ("items:0", VECTORS, {}, "letters"),
        ("items", VECTORS[0], {}, "shape"),
        ("items", VECTORS[:0], {}, "shape"),
        ("items", WITH_NAN, {}, "row 2"),
        ("items", VECTORS.astype(np.float64) * 1e39, {}, "infinity"),
        ("items", VECTORS, {"title": ["a"]}, "'title' has 1 texts for 4"),
    ],
)
def test_refuses_what_the_projector_cannot_show(
    name: str, vectors: np.ndarray, metadata: dict[str, list[str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        write_projector(tmp_path / "run", name, vectors, metadata)
    assert not any(tmp_path.iterdir())


def test_a_damaged_configuration_is_reported_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "projector_config.pbtxt"
    path.write_text("embeddings {")
    with pytest.raises(UserError, match="delete or fix the file"):
        write_projector(tmp_path, "items", VECTORS, {})
    assert path.read_text() == "embeddings {"
