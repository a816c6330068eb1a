"""A run as the report sees it: its table of trials, read back, and the request.

All figures of a report are made from the table alone (`trials.parquet`). What else is known of a
run gives words: names, the question, commands, versions; and the test figures are `confirm`'s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.effects.columns import Column, make_columns
from raysweep.analysis.effects.effect import Effect, Interaction
from raysweep.analysis.effects.estimate import EffectModel, fit_trials
from raysweep.analysis.report.certainty import Certainty, certainty
from raysweep.analysis.report.stages import Stage
from raysweep.core.config import Config
from raysweep.core.objectives import Constraint, Objective

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunFacts", "Trials", "trial_configs"]

_MAX_FIELDS = 8  # whose pairs are looked at: 28
_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run besides its trials.

    Attributes:
        name: of the run.
        questions: what the search is to find out, in words, one a space.
        experiment: the run's experiment.yaml.
        confirmed: its confirm.json; None if the test set was never opened.
        complete: whether all trials of the request are over.
        stages: of a search that pauses trials, what each was sent to train, in order.
        finals: where its paused trials would end, by their numbers: the value expected and the ends
            of a 95% interval.
        outlook: what it expects of going on, as the ledger has it; None where nothing is expected.
    """

    name: str
    questions: tuple[str, ...]
    experiment: Mapping[str, Any]
    confirmed: Mapping[str, Any] | None = None
    complete: bool = True
    stages: tuple[Stage, ...] = ()
    finals: Mapping[int, tuple[float, float, float]] = dataclasses.field(default_factory=dict)
    outlook: Mapping[str, Any] | None = None

    @property
    def max_epochs(self) -> int:
        """Epochs of a whole training; 0 where nobody says so."""
        return int(self.request["settings"].get("epochs") or 0)

    @property
    def request(self) -> Mapping[str, Any]:
        """The request that the search was started with, field by field."""
        request: Mapping[str, Any] = self.experiment["request"]
        return request

    @property
    def budget(self) -> float | None:
        """Whole trainings that a search which pauses trials may take; None for other searches."""
        return self.experiment.get("budget")

    @property
    def measures_itself(self) -> bool:
        """Whether the user's own code says what it measured, as Ray Tune's trainables do."""
        return "mode" in self.request  # of a learner the metric tells it

    @property
    def scheduler(self) -> str:
        """What stopped trials: the scheduler's name, "pausing" of a searcher that pauses them.

        "none" where nothing was searched.
        """
        if self.budget is not None:
            return "pausing"
        searched = self.request.get("spaces") or self.request.get("search")
        return str(self.request["scheduler"]) if searched else "none"


@dataclass(frozen=True)
class Trials:
    """The trials of a run, a row each in the order they started.

    Attributes:
        table: as `Ledger.table` makes it.
        metric: the column that trials are judged by.
        mode: "min" or "max".
        config_class: of the trainable's configuration; None where nobody declared its fields, or
            the code that did is not at hand.
        objectives: what trials are judged by, the metric first, where there are several.
        constraints: what a trial has to keep to.
    """

    table: pd.DataFrame
    metric: str
    mode: str
    config_class: type[Config] | None = None
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def sign(self) -> float:
        """What makes a large metric a good one."""
        return 1.0 if self.mode == "max" else -1.0

    @cached_property
    def configs(self) -> list[dict[str, Any]]:
        """Each trial's configuration; lists are tuples, fields without a value None."""
        return trial_configs(self.table, self.config_class)

    @cached_property
    def params(self) -> list[dict[str, Any]]:
        """What the searcher chose for each trial, by the space's names; empty for the default."""
        names = [str(c) for c in self.table.columns if str(c).startswith("param.")]
        records = self.table[names].to_dict("records")
        return [
            {str(k).removeprefix("param."): v for k, v in record.items() if not _missing(v)}
            for record in records
        ]

    @property
    def has_default(self) -> bool:
        """Whether trial 0 has a default configuration, and not one that the searcher chose."""
        known: bool = self.table.attrs.get("has_default", not self.params or not self.params[0])
        return known

    @cached_property
    def curves(self) -> list[list[float]]:
        """The metric after each epoch of each trial; empty for a trial without a result."""
        if "curve" not in self.table:
            return [[] if math.isnan(v) else [v] for v in self.values]
        return [[] if c is None else [float(v) for v in c] for c in self.table["curve"]]

    @cached_property
    def values(self) -> np.ndarray:
        """The metric of each trial's best epoch, float64 [n].

        NaN for one without a result, or with one that breaks a constraint.
        """
        return np.where(self.feasible, self.reported, math.nan)

    @cached_property
    def reported(self) -> np.ndarray:
        """The metric of each trial's best epoch, constraints aside; NaN without one, [n]."""
        return self._column(self.metric)

    @cached_property
    def feasible(self) -> np.ndarray:
        """Whether each trial's best epoch keeps to all constraints, bool [n]."""
        kept = np.ones(len(self.table), bool)
        for constraint in self.constraints:
            values = self._column(constraint.name)
            kept &= np.array([constraint.holds({constraint.name: v}) for v in values], bool)
        return kept

    @cached_property
    def losses(self) -> np.ndarray:
        """The objectives of each trial's best epoch, small ones good, float64 [n, k].

        NaN where `values` is.
        """
        columns = [np.array([o.loss(v) for v in self._column(o.name)]) for o in self.objectives]
        losses = np.stack(columns, axis=-1) if columns else np.empty((len(self.table), 0))
        return np.where(np.isfinite(self.values)[:, None], losses, math.nan)

    def _column(self, name: str) -> np.ndarray:
        """A column of numbers, float64 [n]; NaN where there is none."""
        if name not in self.table:
            return np.full(len(self.table), math.nan)
        return self.table[name].to_numpy(dtype=float, na_value=math.nan)

    @cached_property
    def fields(self) -> list[str]:
        """Fields whose values differ between trials."""
        if not self.configs:
            return []
        first = self.configs[0]
        return [name for name in first if any(c[name] != first[name] for c in self.configs)]

    @cached_property
    def columns(self) -> list[Column]:
        """The searched fields as columns, one value a trial."""
        return make_columns(self.configs, self.fields, self.params) if self.configs else []

    @cached_property
    def best(self) -> int | None:
        """Row of the best trial, the first one of equals; None without a result."""
        if not np.isfinite(self.values).any():
            return None
        return int(np.where(np.isfinite(self.values), self.sign * self.values, -np.inf).argmax())

    @cached_property
    def default(self) -> int | None:
        """Row of the default configuration, if it has a result."""
        rows = np.flatnonzero(self.table["trial"].to_numpy() == 0)
        return int(rows[0]) if len(rows) and np.isfinite(self.values[rows[0]]) else None

    def number(self, row: int) -> int:
        """The number of the trial in a row."""
        return int(self.table["trial"].iloc[row])

    def counts(self) -> dict[str, int]:
        """How many trials ended how, those that occur."""
        words = ("finished", "stopped", "failed", "running")
        counts = {word: int((self.table["status"] == word).sum()) for word in words}
        return {word: count for word, count in counts.items() if count}

    @cached_property
    def hours(self) -> np.ndarray:
        """What each trial took, in hours, float64 [n]."""
        return self.table["time_total_s"].to_numpy(dtype=float) / _SECONDS_AN_HOUR

    @cached_property
    def requested_epochs(self) -> np.ndarray:
        """Epochs that each trial was to run, int [n]; where none says so, the most of any trial."""
        most = int(self.table["epochs"].max()) if len(self) else 0
        wanted = [(c.get("epochs") or most, c.get("stop_after")) for c in self.configs]
        return np.array([min(epochs, stop or epochs) for epochs, stop in wanted], int)

    @cached_property
    def model(self) -> EffectModel | None:
        """The fitted model behind effects and certainty; None where trials are too few."""
        return fit_trials(self.configs, self.curves, self.fields, self.mode, self.params)

    @cached_property
    def effects(self) -> list[Effect]:
        """What each field did, the most important one first; none where trials are too few."""
        return self.model.effects() if self.model else []

    @cached_property
    def certainty(self) -> Certainty | None:
        """How sure the ranking is; None where trials are too few or the default failed."""
        if self.model is None or self.best is None or self.default is None:
            return None
        return certainty(self.model, self.best, self.default)

    @cached_property
    def interactions(self) -> list[Interaction]:
        """What pairs of fields do together, the surest one first.

        Of many fields, those with the surest effects. A field may act by another one alone, so that
        a few are not picked.
        """
        top = [effect.field for effect in self.effects[:_MAX_FIELDS]]
        return self.model.interactions(top) if self.model and len(top) > 1 else []


def trial_configs(table: pd.DataFrame, config_class: type[Config] | None) -> list[dict[str, Any]]:
    """Reads configurations back from a table's `config.…` columns, lists as tuples."""
    columns = [str(c) for c in table.columns if str(c).startswith("config.")]
    names = config_class.names() if config_class else ()
    if config_class is None or not names:
        return _undeclared_configs(table, columns)
    elements = {name: _element_columns(name, columns) for name in names}
    optional = {f.name for f in dataclasses.fields(config_class) if f.default is None}
    configs = []
    for record in table[columns].to_dict("records"):
        values: dict[str, Any] = {}
        for name in names:
            listed = [v for c in elements[name] if not _missing(v := record[c])]
            value = listed or record.get(f"config.{name}")
            if not _missing(value):
                values[name] = value.item() if isinstance(value, np.generic) else value
            elif name in optional:
                values[name] = None
        config = config_class.create(values)
        configs.append({name: getattr(config, name) for name in names})
    return configs


def _undeclared_configs(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Configurations of fields that are known by their columns alone."""

    def plain(value: Any) -> Any:
        if _missing(value):
            return None
        return value.item() if isinstance(value, np.generic) else value

    records = table[list(columns)].to_dict("records")
    return [{str(c).removeprefix("config."): plain(v) for c, v in r.items()} for r in records]


def _element_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Columns of a list's elements, in order: config.NAME.1 and so on."""
    start = f"config.{name}."
    return sorted((c for c in columns if c.startswith(start)), key=lambda c: int(c[len(start) :]))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
