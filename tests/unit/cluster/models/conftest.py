"""A small backbone in the place of a real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from raysweep.data.features import backbones


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU()).eval()
    made = SimpleNamespace(body=body, weights_hash="0")
    monkeypatch.setattr(backbones, "load_backbone", lambda *_, **__: made)
    return body
