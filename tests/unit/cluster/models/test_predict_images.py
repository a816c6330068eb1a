"""`raysweep predict` for images: a head on its backbone, asked about files and folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from raysweep.cluster.models.image_inputs import find_images
from raysweep.cluster.models.images import ClassifiedImage, classify_images
from raysweep.cluster.printing.images import print_images
from raysweep.core.errors import UserError
from raysweep.data.features import backbones
from raysweep.data.images.decode import Resize, decode
from raysweep.trainables.images.image_head import ImageHead
from tests.helpers import fake_run, train

Ask = Callable[..., tuple[int, str, str]]
RESIZE = {"size": 8, "mode": "crop", "shorter": 12, "interpolation": "bicubic"}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.fixture
def make_run(features_folder: Path, body: nn.Module) -> Callable[..., Any]:
    """What `predict` needs of a run, with features of any precision."""

    def make(precision: str = "float32", **config: Any) -> Any:
        learner, dataset = train(ImageHead, features_folder, config=config, num_epochs=3)
        made = {"resize": RESIZE, "mean": list(MEAN), "std": list(STD), "precision": precision}
        info = SimpleNamespace(index=replace(dataset.info.index, preprocessing=made))
        return fake_run(learner, SimpleNamespace(info=info))

    return make


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 images of several sizes and formats, in folders, and what is no image beside them."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    names = [f"a{k:02d}.png" for k in range(17)] + ["b/2.JPG", "b/deep/1.gif", "c.bmp"]
    for name in [*names, ".hidden/no.png", ".no.png"]:
        height, width = rng.integers(12, 40, 2)
        # Colours that differ, under noise: the body sees other images, not one kind of noise.
        noisy = rng.integers(0, 216, 3) + rng.integers(0, 40, (height, width, 3))
        Image.fromarray(noisy.astype(np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def ask(run_command: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs the command on a run; returns code, output and errors."""

    def answer(run: Any, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", lambda *_: run)
        return run_command("predict", "x", *arguments)

    return answer


def expected(run: Any, body: nn.Module, file: str, dtype: torch.dtype) -> list[float]:
    """One image alone, step by step."""
    pixels, height, width = decode(Path(file).read_bytes(), Resize(**RESIZE))
    mean, std = np.array(MEAN) * 255, np.array(STD) * 255
    shown = torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)[None].to(dtype)
    with torch.no_grad():
        features = body.to(dtype)(shown).half()
        sizes = torch.tensor([[height, width]], dtype=torch.float32)
        scores = run.best_model().model.eval()(features, sizes)
    row: list[float] = scores.softmax(1)[0].tolist()
    return row


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.002)], ids=["exact", "half"]
)
def test_an_image_gets_what_backbone_and_head_make_of_it(
    make_run: Callable[..., Any], body: nn.Module, photos: Path, precision: str, tolerance: float
) -> None:
    """In batches, whichever place it has in one; the image's own size is the second input."""
    run = make_run(precision, image_size=True, hidden_sizes="8")
    sources = find_images([str(photos)])
    answers = classify_images(run, sources)
    dtype = getattr(torch, precision)
    assert next(body.parameters()).dtype == dtype
    assert [answer.source for answer in answers] == sources
    for answer in answers:
        row = expected(run, body, answer.source, dtype)
        assert list(answer.probabilities) == ["ant", "bee", "cat"]
        assert list(answer.probabilities.values()) == pytest.approx(row, abs=tolerance)
        assert answer.predicted == max(answer.probabilities, key=lambda c: answer.probabilities[c])
    spread = np.std([list(answer.probabilities.values()) for answer in answers], 0)
    assert spread.min() > 5 * tolerance  # else any order would pass


def test_the_size_of_the_image_counts(make_run: Callable[..., Any], tmp_path: Path) -> None:
    for name, side in (("small.png", 24), ("large.png", 480)):
        Image.new("RGB", (side, side), (90, 120, 30)).save(tmp_path / name)
    names = [str(tmp_path / name) for name in ("small.png", "large.png")]

    def answers(**config: Any) -> list[list[float]]:
        run = make_run(hidden_sizes="8", **config)
        return [list(each.probabilities.values()) for each in classify_images(run, names)]

    small, large = answers(image_size=False)
    assert small == pytest.approx(large, abs=1e-4)
    small, large = answers(image_size=True)
    assert max(abs(a - b) for a, b in zip(small, large, strict=True)) > 0.01


def test_what_cannot_be_read_moves_no_answer_to_another_image(
    make_run: Callable[..., Any], photos: Path
) -> None:
    run, good = make_run(), find_images([str(photos)])
    (photos / "empty.png").touch()
    whole = (photos / "a00.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad = [str(photos / name) for name in ("empty.png", "notes.txt", "cut.png", "gone.png", "b")]
    mixed = [bad[0], *good[:3], *bad[1:4], *good[3:], bad[4]]
    found = {answer.source: answer for answer in classify_images(run, mixed)}
    assert list(found) == mixed
    for answer in classify_images(run, good):
        again = list(found[answer.source].probabilities.values())
        assert again == pytest.approx(list(answer.probabilities.values()), abs=1e-5)
    reasons = [found[name].reason for name in bad]
    assert all(
        part in reason
        for part, reason in zip(
            ("empty file", "not an image", "damaged", "no such file", "directory"),
            reasons,
            strict=True,
        )
    ), reasons
    assert all(found[name].predicted is None for name in bad)


def test_folders_are_read_in_the_order_of_names(photos: Path) -> None:
    below = [f"{photos}/a{k:02d}.png" for k in range(17)]
    below += [f"{photos}/{name}" for name in ("b/2.JPG", "b/deep/1.gif", "c.bmp")]
    assert find_images([str(photos)]) == below
    # A file that was named counts whatever it is called; the order is that of the command.
    notes = f"{photos}/notes.txt"
    assert find_images([notes, f"{photos}/b/"]) == [notes, *below[17:19]]
    assert find_images(["s3://x/a.jpg"]) == ["s3://x/a.jpg"]


def test_people_read_a_line_for_each_image_and_counts(
    make_run: Callable[..., Any], photos: Path, ask: Ask
) -> None:
    run = make_run()
    (photos / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, output, errors = ask(run, str(photos))
    lines = output.splitlines()
    assert (code, errors, len(lines)) == (0, "", 23)
    answers = {a.source: a for a in classify_images(run, find_images([str(photos)]))}
    for line, (source, answer) in zip(lines, answers.items(), strict=False):
        if answer.reason:
            assert line == f"not read   {source}: {answer.reason}"
            continue
        (first, p), (second, q) = answer.likeliest_first[:2]
        assert line.split() == [first, f"{p:.1%}", second, f"{q:.1%}", source]
    counts = lines[-1].removeprefix("21 images: ").split(", ")
    named = [answer.predicted or "not read" for answer in answers.values()]
    assert set(counts) == {f"{name} {named.count(name)}" for name in set(named)}
    code, output, _ = ask(run, f"{photos}/c.bmp", "--top", "3")
    assert len(output.splitlines()) == 1
    assert output.count("%") == 3


def test_machines_read_json(make_run: Callable[..., Any], photos: Path, ask: Ask) -> None:
    notes, good = f"{photos}/notes.txt", f"{photos}/c.bmp"
    code, output, errors = ask(make_run(), good, notes, "--json")
    first, second = json.loads(output)
    assert (code, errors) == (0, "")
    assert set(first) == {"source", "predicted", "probabilities"}
    assert first["source"] == good
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["predicted"] == max(first["probabilities"], key=first["probabilities"].get)
    assert second["predicted"] is None
    assert "not an image" in second["reason"]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_nothing_readable_ends_with_code_2(
    make_run: Callable[..., Any], photos: Path, ask: Ask, flags: tuple[str, ...]
) -> None:
    notes = f"{photos}/notes.txt"
    code, output, errors = ask(make_run(), notes, notes, *flags)
    assert code == 2
    assert output.count("not an image") == 2
    assert "could not read any of the 2 images" in errors


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "no image is given"),
    "no such path": (("gone.jpg",), "no such image or folder: gone.jpg"),
    "a text": (("a fine film " * 400,), "no such image or folder: a fine film"),
    "an empty folder": (("empty",), "empty holds no images"),
    "no class to show": (("c.bmp", "--top", "0"), "--top 0 shows no class"),
    "a user": (("c.bmp", "--user", "1"), "a run of image_head, and --user is for runs of another"),
    "texts": (("--file", "a.txt", "--lines"), "--lines and --file are for runs of another kind"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_code_2_and_one_message(
    make_run: Callable[..., Any],
    photos: Path,
    ask: Ask,
    mistake: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos)
    (photos / "empty").mkdir()
    arguments, message = MISTAKES[mistake]
    code, output, errors = ask(make_run(), *arguments)
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.count("raysweep: ") == 1
    assert "Traceback" not in errors


def test_a_backbone_with_other_weights_is_refused(
    make_run: Callable[..., Any], photos: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(name: str, weights: str, **_: Any) -> Any:
        asked.append(weights)
        return SimpleNamespace(body=nn.Identity(), weights_hash="1")

    run = make_run()
    monkeypatch.setattr(backbones, "load_backbone", load)
    code, _, errors = ask(run, f"{photos}/c.bmp", "--weights", "moved.safetensors")
    assert (code, asked) == (2, ["moved.safetensors"])
    assert "are not those that made the features" in errors


def test_an_image_where_the_run_belongs(
    photos: Path, run_command: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    code, _, errors = run_command("predict", "c.bmp")
    assert code == 2
    assert "the run comes first: `raysweep predict RUN photo.jpg`" in errors


def test_names_of_any_bytes_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [
        ClassifiedImage("[bold]a\nb\x1b[31m\udce9.jpg", {"[b]": 0.75, "c": 0.25}),
        ClassifiedImage("two.jpg", {}, "damaged"),
    ]
    print_images(answers)
    shown = "[bold]a\ufffdb\ufffd[31m\ufffd.jpg"
    assert capsys.readouterr().out.splitlines() == [
        f"[b]  75.0%   c    25.0%   {shown}",
        "not read   two.jpg: damaged",
        "",
        "2 images: [b] 1, not read 1",
    ]


def test_an_unknown_address_is_one_error() -> None:
    with pytest.raises(UserError, match="cannot be used"):
        find_images(["nowhere://bucket/folder"])
