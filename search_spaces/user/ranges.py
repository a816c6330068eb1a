"""Ranges as people type them: `--search learning_rate=1e-4..1e-1:log`, without a file.

learning_rate=1e-4..1e-1:log             a range, even in its logarithm
num_filters=16..256                      whole numbers, for a field of whole numbers
word_dropout=0..0.5:0.1                  in steps
architecture=cnn,lstm                    choices
hidden_sizes=64|128,64                   choices of a field that is a list
hidden_size=16..512:log if architecture==lstm
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.core.config import Config, parse_field
from raysweep.core.errors import UserError, nearest
from raysweep.core.free_config import FreeConfig, literal
from raysweep.search_spaces.space import Suggest, Trial

__all__ = ["Range", "bind_ranges", "parse_range"]

_FORM = "FIELD=LOW..HIGH, FIELD=LOW..HIGH:log, FIELD=LOW..HIGH:STEP or FIELD=ONE,OTHER"
_TEXT = re.compile(r"\s*([\w/]+)\s*=\s*(.+?)\s*(?:\sif\s+([\w/]+)\s*==\s*(\S+)\s*)?")


@dataclass(frozen=True)
class Range:
    """The values of one field that a search tries.

    Attributes:
        field: its name.
        low, high: both ends, themselves tried; None for choices.
        step: between values; None where all are tried.
        log: whether values are drawn evenly in their logarithm.
        choices: the values by the text that names each.
        condition: a field and its values with which alone this one is searched; None for always.
    """

    field: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[tuple[Any, Any], ...] = ()
    condition: tuple[str, tuple[Any, ...]] | None = None

    def applies(self, fields: dict[str, Any], config: Any) -> bool:
        """Whether the field is searched, where others have these values."""
        if self.condition is None:
            return True
        name, values = self.condition
        return fields.get(name, getattr(config, name, None)) in values

    def suggest(self, trial: Trial) -> Any:
        """Asks the trial for a value."""
        if self.choices:
            values = dict(self.choices)
            return values[trial.suggest_categorical(self.field, list(values))]
        low, high, step = self.low, self.high, self.step
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(self.field, low, high, step=int(step or 1), log=self.log)
        return trial.suggest_float(self.field, low, high, step=step, log=self.log)


def parse_range(text: str, config_class: type[Config]) -> Range:
    """Reads a range; see the top of this file for the forms.

    Args:
        text: as typed after `--search`.
        config_class: whose field it is.

    Raises:
        UserError: another form, no such field, or a value that the field cannot have.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise UserError(f"--search {text!r} is not {_FORM}")
    field, values, other, allowed = match.groups()
    _check_name(text, field, config_class)
    condition = None
    if other is not None:
        _check_name(text, other, config_class)
        condition = (other, tuple(_value(text, other, v, config_class) for v in allowed.split("|")))
    if ".." in values:
        return _interval(text, field, values, condition, config_class)
    words = [word.strip() for word in values.split("|" if "|" in values else ",")]
    if len(set(words)) < 2:
        raise UserError(f"--search {text!r} has one value only; fix it by --set {field}={values}")
    choices = [(word, _value(text, field, word, config_class)) for word in words]
    # What Optuna can name is its own name; a list goes by its text.
    named = [(w if isinstance(v, tuple) else v, v) for w, v in choices]
    return Range(field, choices=tuple(named), condition=condition)


def _interval(
    text: str, field: str, values: str, condition: Any, config_class: type[Config]
) -> Range:
    ends, _, how = values.partition(":")
    low, high = (_value(text, field, end, config_class) for end in ends.split("..", 1))
    if {type(low), type(high)} == {int, float}:  # of a field whose kind nobody declared
        low, high = float(low), float(high)
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in (low, high)):
        raise UserError(f"--search {text!r}: {field} is no number; list its values, e.g. a,b")
    if low >= high:
        raise UserError(f"--search {text!r}: {low} is not below {high}")
    if how == "log" or not how:
        if how and low <= 0:
            raise UserError(f"--search {text!r}: a logarithmic range starts above 0")
        return Range(field, low, high, log=bool(how), condition=condition)
    try:
        step = type(low)(how)
    except ValueError:
        raise UserError(f"--search {text!r}: {how!r} is neither log nor a step") from None
    if not 0 < step <= high - low:
        raise UserError(f"--search {text!r}: the step must be above 0 and at most {high - low:g}")
    return Range(field, low, high, step=step, condition=condition)


def _check_name(text: str, name: str, config_class: type[Config]) -> None:
    if name not in config_class.names() and not issubclass(config_class, FreeConfig):
        raise UserError(
            f"--search {text!r}: there is no field '{name}'{nearest(name, config_class.names())}"
        )


def _value(text: str, field: str, value: str, config_class: type[Config]) -> Any:
    if issubclass(config_class, FreeConfig):
        return literal(value)
    try:
        return parse_field(config_class, field, value.strip())
    except UserError as error:
        raise UserError(f"--search {text!r}: {error}") from None


def bind_ranges(ranges: Sequence[Range], config: Any) -> Suggest:
    """The define-by-run function of several ranges; those that others depend on come first.

    Args:
        ranges: of different fields.
        config: the configuration that fields which are not searched have their values from.

    Raises:
        UserError: two ranges of one field, or ranges that depend on each other in a circle.
    """
    names = [each.field for each in ranges]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--search has two ranges for {', '.join(sorted(twice))}; give one")
    ordered: list[Range] = []
    waiting = list(ranges)
    while waiting:
        searched = {each.field for each in waiting}
        ready = [r for r in waiting if r.condition is None or r.condition[0] not in searched]
        if not ready:
            raise UserError(f"--search: {', '.join(sorted(searched))} depend on each other")
        ordered += ready
        waiting = [each for each in waiting if each not in ready]

    def suggest(trial: Trial) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for each in ordered:
            if each.applies(fields, config):
                fields[each.field] = each.suggest(trial)
        return fields

    return suggest
