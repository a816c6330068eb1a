"""Ray Tune's own search spaces: dictionaries of `tune.uniform(…)`, `tune.choice(…)` and the like.

Each domain asks the searcher for the value that Ray would have drawn: within the same limits, on
the same scale, rounded alike. `tune.grid_search` is a choice among its values; `--searcher grid`
takes all of them. What Optuna has no name for is asked for by another name: a normal distribution
by its quantile, a function by the seed that it draws with.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.core.config import Config, parse_field
from raysweep.core.errors import UserError
from raysweep.core.free_config import FreeConfig, flatten, nest
from raysweep.search_spaces.space import Suggest, Trial

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

__all__ = ["describe_domains", "suggest_domains"]

_GRID = "grid_search"
_TAIL = 1e-4  # quantiles closer to 0 or 1 than this are not drawn


def suggest_domains(space: Mapping[str, Any], config: Config) -> Suggest:
    """The define-by-run function of a dictionary of domains and constants.

    Args:
        space: as Ray Tune's `param_space`, nested or not; constants are fixed fields.
        config: the configuration so far; its class says which values a field may have.

    Raises:
        UserError: a domain without limits, or with values that a field cannot have.
    """
    from ray.tune.search.sample import Domain, Function

    leaves = dict(_leaves(space))
    _check_fields(leaves, type(config))

    def suggest(trial: Trial) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        functions: dict[str, Function] = {}
        for name, value in leaves.items():
            if isinstance(value, Function):
                functions[name] = value
            elif isinstance(value, Domain):
                fields[name] = _suggest(trial, name, value)
            else:
                fields[name] = value
        for name, function in functions.items():  # they may read what the others have
            fields |= flatten({name: _call(trial, name, function, fields)})
        return fields

    return suggest


def describe_domains(space: Mapping[str, Any]) -> str:
    """The space in one line, equal for equal ones: `lr=loguniform(0.0001, 0.1), units=64`."""
    return ", ".join(f"{name}={_text(value)}" for name, value in sorted(_leaves(space)))


def _leaves(space: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every domain and constant, by its name in a flat configuration."""
    from ray import tune

    for key, value in space.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and set(value) == {_GRID}:
            yield name, tune.choice(list(value[_GRID]))
        elif isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}/")
        else:
            yield name, value


def _sampler(domain: Domain) -> tuple[Any, Any]:
    """How a domain draws, and the quantum that it rounds to; None where it does not."""
    from ray.tune.search.sample import Quantized

    sampler = domain.get_sampler()
    return (sampler.get_sampler(), sampler.q) if isinstance(sampler, Quantized) else (sampler, None)


def _suggest(trial: Trial, name: str, domain: Any) -> Any:
    from ray.tune.search.sample import Categorical, Float, Integer, LogUniform, Normal

    sampler, quantum = _sampler(domain)
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, Categorical):
        return _choose(trial, name, list(domain.categories))
    if isinstance(domain, Integer):
        return _suggest_int(trial, name, domain, quantum, log=log)
    if not isinstance(domain, Float):
        raise UserError(f"{name}: {type(domain).__name__} is no domain that raysweep knows")
    if isinstance(sampler, Normal):
        quantile = trial.suggest_float(f"{name} (quantile)", _TAIL, 1.0 - _TAIL)
        value = NormalDist(sampler.mean, sampler.sd).inv_cdf(quantile)
        return _round(value, quantum)
    if quantum is not None and not log:
        return trial.suggest_float(name, domain.lower, domain.upper, step=quantum)
    value = trial.suggest_float(name, domain.lower, domain.upper, log=log)
    return min(max(_round(value, quantum), domain.lower), domain.upper)


def _suggest_int(trial: Trial, name: str, domain: Any, quantum: Any, *, log: bool) -> int:
    """Ray's whole numbers: the upper limit is left out, but for those that are rounded."""
    if quantum is None or quantum == 1:
        return trial.suggest_int(name, domain.lower, domain.upper - 1, log=log)
    low, high = math.ceil(domain.lower / quantum), math.floor(domain.upper / quantum)
    if not log:
        return trial.suggest_int(name, low * quantum, high * quantum, step=quantum)
    return trial.suggest_int(f"{name} / {quantum}", low, high, log=True) * int(quantum)


def _choose(trial: Trial, name: str, choices: list[Any]) -> Any:
    """One of the choices; what Optuna cannot name goes by its text."""
    if all(each is None or isinstance(each, (str, int, float, bool)) for each in choices):
        return trial.suggest_categorical(name, choices)
    by_text = {_text(each): each for each in choices}
    return by_text[trial.suggest_categorical(name, list(by_text))]


def _call(trial: Trial, name: str, function: Any, fields: Mapping[str, Any]) -> Any:
    """What a `tune.sample_from` function gives, as a function of a seed that is asked for."""
    seed = trial.suggest_int(f"{name} (seed)", 0, 2**31 - 1)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        return function.sample(nest(fields))
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def _round(value: float, quantum: Any) -> float:
    return value if quantum is None else float(f"{round(value / quantum) * quantum:.12g}")


def _check_fields(leaves: Mapping[str, Any], config_class: type[Config]) -> None:
    """Refuses values that a field cannot have, at both ends of each domain."""
    if issubclass(config_class, FreeConfig):
        return
    for name, value in leaves.items():
        if name not in config_class.names():
            continue  # refused where the configuration is made
        for end in _ends(value):
            try:
                parse_field(config_class, name, end)
            except UserError as error:
                raise UserError(f"the space goes beyond what {name} may be: {error}") from None


def _ends(value: Any) -> list[Any]:
    """The smallest and the largest value of a domain, or all choices."""
    from ray.tune.search.sample import Categorical, Domain, Function, Integer

    if isinstance(value, Function):
        return []
    if isinstance(value, Categorical):
        return list(value.categories)
    if not isinstance(value, Domain):
        return [value]
    low, high = value.lower, value.upper
    if isinstance(value, Integer) and _sampler(value)[1] in (None, 1):
        high -= 1
    return [end for end in (low, high) if math.isfinite(end)]


def _text(value: Any) -> str:
    from ray.tune.search.sample import Categorical, Domain, Function

    if isinstance(value, Function):
        code = getattr(value.func, "__code__", None)
        told = b"" if code is None else code.co_code + repr(code.co_consts).encode()
        return f"sample_from({hashlib.sha256(told).hexdigest()[:8]})"
    if isinstance(value, Categorical):
        return f"choice([{', '.join(_text(each) for each in value.categories)}])"
    if isinstance(value, Domain):
        sampler, quantum = _sampler(value)
        kind = "int" if isinstance(value.cast(1), int) else ""
        rounded = "" if quantum is None else f", {quantum}"
        limits = f"{getattr(sampler, 'mean', value.lower)}, {getattr(sampler, 'sd', value.upper)}"
        return f"{str(sampler).lower()}{kind}({limits}{rounded})"
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    return repr(value)
