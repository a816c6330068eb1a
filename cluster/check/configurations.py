"""Configurations beside the one that is checked: others, exact ones, and the ends of ranges."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from raysweep.cluster.check.subject import Subject
from raysweep.core.errors import UserError
from raysweep.trainables.optim import TrainingConfig

__all__ = ["changed", "ends", "exact_fields", "other_configurations", "other_values"]

# How long to train is not what a model is made of.
_LENGTH = ("epochs", "stop_after")
# Rounding counts for as little as possible. Adam turns that of a gradient near 0 into a whole step.
_EXACT = {"optimizer": "sgd", "precision": "float32"}


def changed(subject: Subject, values: dict[str, Any]) -> TrainingConfig | None:
    """The checked configuration with other values; None where it is refused.

    Values that do not go together with the rest are left out one by one.
    """
    config = subject.config
    for name, value in values.items():
        try:
            candidate = dataclasses.replace(config, **{name: value})
            subject.learner_class.check(candidate, subject.data)
        except UserError:
            continue
        config = candidate
    return None if config == subject.config else config


def other_configurations(subject: Subject) -> Iterator[TrainingConfig]:
    """Configurations that differ in as much as possible, or at least in something."""
    names = [name for name in subject.config.names() if name not in _LENGTH]
    for some in (names, ["seed", "learning_rate"]):
        config = changed(subject, other_values(subject, some))
        if config is not None:
            yield config


def other_values(subject: Subject, names: Iterable[str]) -> dict[str, Any]:
    """Another value for each field that has one, within its range."""
    fields = {f.name: f for f in dataclasses.fields(subject.config)}
    values = {}
    for name in names:
        value = _other(getattr(subject.config, name), fields[name].metadata)
        if value is not None:
            values[name] = value
    return values


def _other(value: Any, meta: Any) -> Any:
    """Another value near this one, or None."""
    choices, low, high = (meta.get(name) for name in ("choices", "low", "high"))
    if isinstance(value, bool):
        return not value
    if choices and value in choices:
        return choices[(choices.index(value) + 1) % len(choices)]
    if isinstance(value, (int, float)):
        kind = type(value)
        tried = [kind(value / 2), kind(value + 1), kind(0.1)]
        if low is not None and high is not None:
            tried.append(kind((low + high) / 2))
        inside = [
            v
            for v in tried
            if v != value and (low is None or v >= low) and (high is None or v <= high)
        ]
        return inside[0] if inside else None
    return None


def exact_fields(subject: Subject, *, dropout: bool) -> dict[str, Any]:
    """Values with which rounding, and on demand dropout, makes no difference.

    Args:
        subject: whose configuration is meant.
        dropout: whether dropout may stay.
    """
    fields = {f.name: f for f in dataclasses.fields(subject.config)}
    values: dict[str, Any] = {
        name: value
        for name, value in _EXACT.items()
        if name in fields and value in fields[name].metadata.get("choices", ())
    }
    for name, f in fields.items():
        if not dropout and "dropout" in name and not (f.metadata.get("low") or 0) > 0:
            current = getattr(subject.config, name)
            values[name] = (0.0,) if isinstance(current, tuple) else 0.0
    return values


def ends(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Each field's smallest and largest value, and its choices; the checked value left out."""
    hints = typing.get_type_hints(type(subject.config))
    for f in dataclasses.fields(subject.config):
        current = getattr(subject.config, f.name)
        meta = f.metadata
        values = [*meta.get("choices", ()), meta.get("low"), meta.get("high")]
        if isinstance(current, bool):
            values = [not current]
        for value in values:
            if value is None:
                continue
            whole = (value,) if typing.get_origin(hints[f.name]) is tuple else value
            if whole != current:
                yield f.name, whole
