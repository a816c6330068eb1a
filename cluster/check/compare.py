"""How two trainings differ, in words; and what an error says, with the user's own line of code."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["PACKAGE", "Closeness", "Epoch", "difference", "explain", "weights_of"]

PACKAGE = Path(str(sys.modules["raysweep"].__file__)).resolve().parent
_OURS = PACKAGE.parent
_OUR_FOLDERS = ("raysweep", "core", "data", "trainables", "cluster", "search_spaces")
_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = Path(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        result: `Trainer.run_epoch`'s.
        weights: the model's parameters and buffers after it, by name, on the CPU.
    """

    result: Mapping[str, float]
    weights: Mapping[str, Tensor]


@dataclass(frozen=True)
class Closeness:
    """How close numbers have to be: |a - b| <= absolute + relative · |b|; 0 is to the bit."""

    metrics: float = 0.0
    metrics_absolute: float = 0.0
    weights: float = 0.0
    weights_absolute: float = 0.0


def difference(one: Epoch, other: Epoch, close: Closeness) -> str:
    """Where two epochs differ first, e.g. `val_loss 0.41 and 0.43`; empty where they agree.

    Args:
        one: any.
        other: the one that is right. Metrics that only one of both has do not count.
        close: how close they have to be.
    """
    for name in sorted(one.weights.keys() | other.weights.keys()):
        if name not in one.weights or name not in other.weights:
            return f"only one of both has the weights {name}"
    for name in other.result:
        if name in one.result:
            a, b = float(one.result[name]), float(other.result[name])
            if not abs(a - b) <= close.metrics_absolute + close.metrics * abs(b):
                return f"{name} is {a:.10g} and {b:.10g}"
    for name, right in other.weights.items():
        if problem := _tensors(one.weights[name], right, close):
            return f"the weights {name} {problem}"
    return ""


def _tensors(one: Tensor, other: Tensor, close: Closeness) -> str:
    if one.shape != other.shape:
        return f"have the shapes {list(one.shape)} and {list(other.shape)}"
    if not close.weights and not close.weights_absolute:
        if torch.equal(one, other):
            return ""
    elif torch.allclose(one.double(), other.double(), close.weights, close.weights_absolute):
        return ""
    largest = float((one.double() - other.double()).abs().max())
    return f"differ by up to {largest:.2g}"


def explain(error: BaseException) -> str:
    """An error on one line: its type, its message, and the last line of the user's own in it."""
    text = str(error).strip()
    said = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(frame.filename):
            return f"{said} ({Path(frame.filename).name}, line {frame.lineno})"
    return said


def _is_users(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or any(part in _INSTALLED for part in path.parts):
        return False
    path = path.resolve()
    places = (_PYTHON, *(_OURS / folder for folder in _OUR_FOLDERS))
    return not any(path.is_relative_to(place) for place in places)


def weights_of(model: Any) -> dict[str, Tensor]:
    """Copies of a model's parameters and buffers by name, on the CPU."""
    state = model.state_dict()
    return {k: v.detach().cpu().clone() for k, v in state.items() if isinstance(v, Tensor)}
