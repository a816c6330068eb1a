"""A space of the user's: Ray Tune's dictionary, an Optuna define-by-run function, or a `Space`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.core.free_config import FreeConfig, flatten
from raysweep.core.targets import load_target, own_frames
from raysweep.search_spaces.space import Space, Suggest, Trial
from raysweep.search_spaces.user.ray_domains import suggest_domains

__all__ = ["as_space", "bind_user_space"]


def bind_user_space(target: str, task: str, config: Config) -> Suggest:
    """The define-by-run function of a space that a target names.

    Args:
        target: `file.py:name`, `package.module:name`, or what `name_object` gave it.
        task: the trainable's name.
        config: its configuration so far.

    Raises:
        UserError: the target cannot be loaded, or is no space.
    """
    space = load_target(target)
    return space.bind(task, config) if isinstance(space, Space) else _bound(target, space, config)


def as_space(name: str, given: Any) -> Space:
    """A space that a package adds, by its name there.

    Args:
        name: what it is called from now on.
        given: a `Space`, a dictionary of Ray Tune's domains or a define-by-run function; of a
            function the first line of its docstring is the question.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(given, Space):
        return replace(given, name=name)
    _check(name, given)
    question = "" if isinstance(given, Mapping) else (given.__doc__ or "").strip()
    first = question.partition("\n")[0] or f"Which values of {name} are best?"
    return Space(name, first, lambda trial, config: _bound(name, given, config)(trial))


def _bound(target: str, space: Any, config: Config) -> Suggest:
    _check(target, space)
    if isinstance(space, Mapping):
        return suggest_domains(space, config)
    return _Defined(target, space, config)


def _check(target: str, space: Any) -> None:
    if isinstance(space, Mapping):
        return
    if not callable(space) or inspect.isclass(space):
        raise UserError(
            f"'{target}' is {space!r:.80}, and no search space; that is a dictionary of Ray Tune's "
            "domains or a function that asks an Optuna trial for values"
        )


class _Defined:
    """A define-by-run function: what it asked for are fields, and so is what it returns."""

    def __init__(self, target: str, function: Callable[..., Any], config: Config) -> None:
        self._target, self._function, self._config = target, function, config
        self._more = (config,) if _num_arguments(function) > 1 else ()

    def __call__(self, trial: Trial) -> dict[str, Any]:
        asked = _Asked(trial)
        try:
            returned = self._function(asked, *self._more)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._target} failed:\n{own_frames(error)}") from None
        if returned is not None and not isinstance(returned, Mapping):
            raise UserError(
                f"{self._target} returned {returned!r:.80}; a space returns a dictionary of fields"
                ", or nothing where the names that it asked for are the fields"
            )
        fields = asked.values
        if not isinstance(self._config, FreeConfig):
            fields = {k: v for k, v in fields.items() if k in self._config.names()}
        return {**fields, **flatten(returned or {})}


class _Asked:
    """A trial that notes what it was asked for."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._trial, name)
        if not name.startswith("suggest_"):
            return method

        def suggest(asked: str, *arguments: Any, **options: Any) -> Any:
            self.values[asked] = method(asked, *arguments, **options)
            return self.values[asked]

        return suggest


def _num_arguments(function: Callable[..., Any]) -> int:
    """How many arguments a function must be given by position."""
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
