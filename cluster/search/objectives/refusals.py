"""Configurations that are passed over: what is known before training breaks a constraint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.ledger import config_key
from raysweep.core.errors import UserError
from raysweep.search_spaces import sample
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.user.tune_task import TuneTask

if TYPE_CHECKING:
    from raysweep.cluster.runs.request import SearchRequest

__all__ = ["Refusals"]

_DRAWN = 200


class Refusals:
    """Configurations that break a constraint on what is known before training: their size.

    Args:
        request: the search, already `checked()`.
        arrays: `Dataset.arrays` of its data.
    """

    def __init__(self, request: SearchRequest, arrays: Mapping[str, Any]) -> None:
        own_code = issubclass(request.learner, TuneTask)  # which builds no model before it runs
        limits = [c for c in request.constraints if c.name == "num_parameters"]
        self._limits = [] if own_code else limits
        self._request, self._arrays = request, arrays
        self._sizes: dict[str, int] = {}

    def __call__(self, fields: Mapping[str, Any]) -> bool:
        """Whether the configuration with these fields breaks a constraint."""
        if not self._limits:
            return False
        size = {"num_parameters": self.num_parameters(fields)}
        return not all(limit.holds(size) for limit in self._limits)

    def __str__(self) -> str:
        return " and ".join(f'--constraint "{limit}"' for limit in self._limits)

    def num_parameters(self, fields: Mapping[str, Any]) -> int:
        """The size of the model with these fields."""
        key = config_key(fields)
        if key not in self._sizes:
            config = self._request.config(fields)
            self._sizes[key] = num_parameters(self._request.learner, config, self._arrays)
        return self._sizes[key]

    def check(self) -> None:
        """Looks for a configuration that may be trained, among some drawn at random.

        Raises:
            UserError: none of them may.
        """
        if not self._limits or not self._request.searches:
            return
        suggest, sizes = self._request.suggest(), []
        for number in range(_DRAWN):
            fields = sample(suggest, self._request.seed, number)[1]
            if not self(fields):
                return
            sizes.append(self.num_parameters(fields))
        raise UserError(
            f"{self}: none of {_DRAWN} configurations drawn at random keeps to it; they have "
            f"{min(sizes):,} to {max(sizes):,} parameters. Loosen the limit, or widen the search"
        )
