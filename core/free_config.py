"""The configuration of code that takes a dictionary: any fields, of any kind that JSON has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from raysweep.core.config import Config
from raysweep.core.errors import UserError

__all__ = ["FreeConfig", "flatten", "literal", "nest"]

_WORDS = {"true": True, "false": False, "none": None, "null": None}


class FreeConfig(Config):
    """Fields that nobody declared: `config["model"]["width"]` is the field `model/width`.

    Raises:
        UserError: a value is of a kind that JSON does not have, so that a run could not store it; a
            field is a value and a dictionary; or `epochs`, which ends a trial, is no number.
    """

    def __init__(self, **values: Any) -> None:
        plain = {name: _plain(name, value) for name, value in flatten(values).items()}
        for name in plain:
            if clash := next((other for other in plain if other.startswith(f"{name}/")), None):
                raise UserError(f"{name} is a value, and {clash} takes it for a dictionary")
        epochs = plain.get("epochs", 1)
        if isinstance(epochs, bool) or not isinstance(epochs, (int, float)) or epochs < 1:
            raise UserError(f"epochs={epochs!r} is not a number of reports; at least 1")
        object.__setattr__(self, "_values", plain)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name)
        return self._values[name]

    @property
    def epochs(self) -> int | None:
        """The most results that a trial reports; None where no such field was set."""
        epochs = self._values.get("epochs")
        return None if epochs is None else int(epochs)

    @classmethod
    def create(cls, values: Mapping[str, Any]) -> FreeConfig:
        """A configuration of these fields."""
        return cls(**values)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> FreeConfig:
        """The same of fields as people type them: `3` is a number, `relu` a word."""
        return cls(**{k: literal(v) if isinstance(v, str) else v for k, v in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, nested ones as `outer/inner`."""
        return dict(self._values)


def literal(text: str) -> Any:
    """A value as people type it: a whole number, a number, true, false, none, or a word."""
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return _WORDS.get(text.lower(), text)


def flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested dictionaries as one: {"a": {"b": 1}} as {"a/b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{path}{name}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{key}/")
        else:
            flat[key] = value
    return flat


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Undoes `flatten`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split("/")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return nested


def _plain(name: str, value: Any) -> Any:
    """The value as it will be read back from a run's files."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of NumPy's
        value = value.item()
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise UserError(
            f"the configuration's {name} is {value!r:.80}, which cannot be stored as JSON; use a "
            "number, a word or a list of them, and look the object up by its name in your code"
        ) from None
