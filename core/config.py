"""Configurations: frozen dataclasses whose fields carry a meaning, a unit and a valid range.

The command line (`--set dropout=0.3`), the search spaces and the saved runs all speak these field
names. Everything is checked here, before Ray starts.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from raysweep.core.errors import UserError, nearest

__all__ = ["Config", "option", "parse_field"]

ConfigT = TypeVar("ConfigT", bound="Config")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True}
_BOOLEANS |= {"false": False, "0": False, "no": False, "off": False}


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declares a configuration field.

    Args:
        default: the value where none is given.
        help: one line with the meaning and the unit.
        low: smallest allowed value, or None for no limit.
        high: largest allowed value, or None for no limit.
        choices: the allowed words, or None for any.

    Returns:
        A dataclass field with all of that as its metadata.
    """
    meta = {"help": help, "low": low, "high": high, "choices": tuple(choices or ())}
    return dataclasses.field(default=default, metadata=meta)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Base of every configuration: checks types and ranges, and parses text.

    A subclass that overrides `check` calls its base's by name: a dataclass with slots is another
    class than the one in the source, which breaks `super()` without arguments.

    Raises:
        UserError: a field has a wrong type or is out of its range, or `check` refuses it.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value = _coerce(f.name, getattr(self, f.name), hints[f.name])
            object.__setattr__(self, f.name, value)
            _check(f, value)
        self.check()

    def check(self) -> None:
        """Raises UserError for combinations of fields that make no sense."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of all fields, in order."""
        return tuple(f.name for f in dataclasses.fields(cls))

    @classmethod
    def create(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """Builds a configuration from a mapping of field names to values or to text.

        Raises:
            UserError: a name is no field, or a value has a wrong type or is out of its range.
        """
        for name in values:
            if name not in cls.names():
                raise UserError(f"{cls.__name__} has no field '{name}'{nearest(name, cls.names())}")
        return cls(**dict(values))

    @classmethod
    def read(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """The same of fields as people type them; text is read by the fields' types anyway."""
        return cls.create(values)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name, as values that JSON has: tuples become lists."""
        return {
            f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v
            for f in dataclasses.fields(self)
        }


def parse_field(config_class: type[Config], name: str, text: str) -> Any:
    """A field's value from text, checked by itself: its type, its limits and its choices.

    Args:
        config_class: whose field it is.
        name: of the field, which exists.
        text: as typed.

    Raises:
        UserError: the field cannot have that value.
    """
    value = _coerce(name, text, typing.get_type_hints(config_class)[name])
    _check(next(f for f in dataclasses.fields(config_class) if f.name == name), value)
    return value


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """A value in its annotated type, from text or lists; raises UserError where there is none."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    try:
        if typing.get_origin(hint) is tuple:
            return _sequence(value, typing.get_args(hint)[0])
        return _scalar(value, hint)
    except (ValueError, TypeError, KeyError, OverflowError):
        kind = getattr(hint, "__name__", str(hint))
        raise UserError(f"{name}={value!r} is not of type {kind}") from None


def _sequence(value: Any, hint: Any) -> tuple[Any, ...]:
    parts = [p for p in value.split(",") if p.strip()] if isinstance(value, str) else value
    if isinstance(parts, (int, float)):
        parts = [parts]
    return tuple(_scalar(p, hint) for p in parts)


def _scalar(value: Any, hint: Any) -> Any:
    if isinstance(value, str):
        return _parse(value.strip(), hint)
    if hint is str or value is None or isinstance(value, bool) != (hint is bool):
        raise TypeError("a value of another type")
    if hint is int and value != int(value):
        raise ValueError("a fraction where a whole number belongs")
    return hint(value)


def _parse(text: str, hint: Any) -> Any:
    if hint is bool:
        return _BOOLEANS[text.lower()]
    if hint is int:
        try:
            return int(text)
        except ValueError:  # 1e3 is a whole number, too.
            return _scalar(float(text), int)
    return hint(text)


def _check(f: dataclasses.Field[Any], value: Any) -> None:
    meta = f.metadata
    for one in value if isinstance(value, tuple) else (value,):
        if meta.get("choices") and one not in meta["choices"]:
            hint = nearest(str(one), meta["choices"])
            raise UserError(
                f"{f.name}={one!r} is not one of {', '.join(meta['choices'])}"
                + (hint if "did you mean" in hint else "")
            )
        if isinstance(one, float) and not math.isfinite(one):
            raise UserError(f"{f.name}={one} must be a finite number")
        low, high = meta.get("low"), meta.get("high")
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            if low is not None and one < low:
                raise UserError(f"{f.name}={one} is too small; it must be at least {low}")
            if high is not None and one > high:
                raise UserError(f"{f.name}={one} is too large; it may be at most {high}")
