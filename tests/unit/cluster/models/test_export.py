"""A head with its backbone as one file that needs nothing of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from raysweep.cluster.models.export import build_classifier, export_run
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features import backbones
from raysweep.trainables import checkpoint
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.trainer import Trainer
from raysweep.trainables.trial_files import BEST

LOAD = """
import sys, torch
pixels, sizes = torch.load(sys.argv[2]), torch.tensor([[300.0, 200.0]] * 3)
kind = sys.argv[1].rsplit(".")[-1]
if kind == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1])
    given = {"pixels": pixels.numpy(), "sizes": sizes.numpy()}
    found = torch.tensor(session.run(["probabilities"], given)[0])
else:
    load = torch.jit.load if kind == "pt" else lambda f: torch.export.load(f).module()
    with torch.no_grad():
        found = load(sys.argv[1])(pixels, sizes)
torch.save(found, sys.argv[3])
assert "raysweep" not in sys.modules
"""


@pytest.fixture
def run(features_folder: Path, tmp_path: Path) -> SavedRun:
    fields = {"dataset": str(features_folder)}
    request = SearchRequest(task="image_head", data=fields, metric="val_accuracy")
    dataset = ImageHead.load_data(ImageHead.data_class.create(fields))
    config = ImageHead.config_class.create({"hidden_sizes": "8", "image_size": True})
    learner = ImageHead(config, dataset.arrays)
    header = {"config": config.to_dict(), "best": Trainer(learner).run_epoch()}
    storage = Storage(tmp_path / "run")
    weights = {"model": learner.model.state_dict()}
    checkpoint.save(storage / "best", BEST, weights, header)
    ledger = Ledger(storage, "val_accuracy", "max")
    return SavedRun(storage, request, ledger, dataset.fingerprint, loaded=dataset)


def test_the_network_normalises_and_gives_probabilities(run: SavedRun, body: nn.Module) -> None:
    network, size = build_classifier(run)
    assert size == 8
    pixels, sizes = torch.rand(4, 3, 8, 8) * 255, torch.full((4, 2), 200.0)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]))
    features = body((pixels / 255 - mean) / std)
    expected = run.best_model().model.eval()(features, sizes).softmax(1)
    torch.testing.assert_close(network(pixels, sizes), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_the_file_works_without_this_project(
    run: SavedRun, body: nn.Module, tmp_path: Path, suffix: str
) -> None:
    """In a process of its own, for another number of images than the file was made with."""
    file = tmp_path / f"model{suffix}"
    assert export_run(run, file) == ["pixels", "sizes"]
    pixels = torch.rand(3, 3, 8, 8) * 255
    torch.save(pixels, tmp_path / "in.pt")
    command = [
        sys.executable,
        "-c",
        LOAD,
        str(file),
        str(tmp_path / "in.pt"),
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, cwd=tmp_path, env={"PATH": ""}, timeout=50)
    expected = build_classifier(run)[0](pixels, torch.tensor([[300.0, 200.0]] * 3))
    found = torch.load(tmp_path / "out", weights_only=True)
    torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-5)


def test_the_file_names_the_classes(run: SavedRun, body: nn.Module, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model.pt")
    extra: dict[str, Any] = {"facts.json": ""}
    torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    facts = json.loads(extra["facts.json"])
    assert facts["classes"] == ["ant", "bee", "cat"]
    assert facts["size"] == 8


def test_what_cannot_be_exported_is_refused(
    run: SavedRun, body: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"ends with \.pt2"):
        export_run(run, tmp_path / "model.h5")
    other = SimpleNamespace(body=body, weights_hash="1")
    monkeypatch.setattr(backbones, "load_backbone", lambda *_, **__: other)
    with pytest.raises(UserError, match="are not those that made the features"):
        export_run(run, tmp_path / "model.pt")
    assert not list(tmp_path.glob("model*"))
