"""How much each field mattered, by Optuna's two evaluators, beside what chance gives.

fANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014) shares out the variance of the results over the
fields; PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023) finds by which fields the best trials
differ from all. Neither gives an interval. Both give something to every field, so that the same is
computed for shuffled results: what a field without any effect gets.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.effects.columns import Column
from raysweep.analysis.effects.estimate import MIN_TRIALS

if TYPE_CHECKING:
    import optuna

    from raysweep.analysis.report.trials import Trials

__all__ = ["Importance", "importance"]

_NUM_TREES, _MAX_DEPTH = 16, 10
_FAR = 6.0  # times the median distance from the best: what lies beyond counts as lying there
_COMPARED_SHARE = 0.9  # of the trials, those with the most epochs
_NUM_SHUFFLES = {"fANOVA": 3, "PED-ANOVA": 20}
_TOP_SHARE = 0.1  # what PED-ANOVA calls the best
_ENOUGH_AT_TOP = 5  # as Optuna's documentation advises
_MANY_TRIALS = 50


@dataclass(frozen=True)
class Importance:
    """How much each field mattered, by two evaluators.

    Attributes:
        fields: names, the most important one by their mean first.
        shares: by evaluator, of each field; they sum to 1, float64 [num_fields].
        chance: by evaluator, what 95% of fields without effect stay below.
        epochs: after how many epochs the trials were compared.
        num_trials: how many trials have run so many epochs.
        caveats: sentences; empty if there is nothing to say.
    """

    fields: tuple[str, ...]
    shares: Mapping[str, np.ndarray]
    chance: Mapping[str, float]
    epochs: int
    num_trials: int
    caveats: tuple[str, ...]

    def above_chance(self, name: str) -> list[str]:
        """Fields that an evaluator puts above what chance gives."""
        over = self.shares[name] > self.chance[name]
        return [field for field, sure in zip(self.fields, over, strict=True) if sure]


def importance(trials: Trials) -> Importance | None:
    """Compares trials after as many epochs as nine in ten have; None where they are too few.

    Those that went on longer are the scheduler's choice: comparing only them would compare winners.
    """
    lengths = sorted((len(curve) for curve in trials.curves if curve), reverse=True)
    if len(lengths) < MIN_TRIALS or not trials.columns:
        return None
    epochs = lengths[max(MIN_TRIALS, math.ceil(_COMPARED_SHARE * len(lengths))) - 1]
    rows = [k for k, curve in enumerate(trials.curves) if len(curve) >= epochs]
    values = np.array([max(trials.sign * np.array(trials.curves[k][:epochs])) for k in rows])
    # A network that learned nothing would be all of the variance.
    median = np.median(values)
    values = values.clip(values.max() - _FAR * (values.max() - median))
    used = [c for c in trials.columns if len({c.values[k] for k in rows} - {None}) > 1]
    if not used or np.ptp(values) == 0.0:
        return None
    points = [{c.name: c.values[k] for c in used if c.values[k] is not None} for k in rows]
    study = _study(used, points)
    rng = np.random.default_rng(0)
    shares, chance = {}, {}
    for name, num_shuffles in _NUM_SHUFFLES.items():
        shares[name] = _shares(name, used, study, values)
        by_chance = [
            _shares(name, used, study, rng.permutation(values)) for _ in range(num_shuffles)
        ]
        chance[name] = float(np.quantile(np.concatenate(by_chance), 0.95))
    order = np.argsort(-np.mean(list(shares.values()), axis=0), kind="stable")
    shares = {name: share[order] for name, share in shares.items()}
    names = tuple(used[k].name for k in order)
    caveats = _caveats(names, shares, len(rows), str(trials.table.attrs.get("searcher", "")))
    return Importance(names, shares, chance, epochs, len(rows), caveats)


def _study(used: Sequence[Column], points: Sequence[Mapping[str, Any]]) -> optuna.Study:
    """The trials as Optuna knows them, all with the same result: `_shares` gives them others."""
    import optuna

    distributions = {column.name: _distribution(column) for column in used}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    optuna.logging.set_verbosity(verbosity)
    for point in points:
        known = {field: distributions[field] for field in point}
        study.add_trial(optuna.create_trial(params=dict(point), distributions=known, value=0.0))
    return study


def _shares(
    name: str, used: Sequence[Column], study: optuna.Study, values: np.ndarray
) -> np.ndarray:
    """Shares of the columns when the trials have these results, high ones being good."""
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    evaluator: Any = PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)
    if name == "fANOVA":
        evaluator = FanovaImportanceEvaluator(n_trees=_NUM_TREES, max_depth=_MAX_DEPTH, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importances = get_param_importances(
            study, evaluator=evaluator, target=lambda trial: -float(values[trial.number])
        )
    shares = np.array([float(importances.get(column.name, 0.0)) for column in used])
    return shares / (shares.sum() or 1.0)


def _distribution(column: Column) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not column.numeric:
        return CategoricalDistribution(column.choices)
    return FloatDistribution(column.numbers[0], column.numbers[-1], log=column.log)


def _caveats(
    names: Sequence[str], shares: Mapping[str, np.ndarray], num_trials: int, searcher: str
) -> tuple[str, ...]:
    caveats = []
    if num_trials < _MANY_TRIALS:
        caveats.append(
            f"{num_trials} trials are few for importances: expect them to change with more."
        )
    at_top = int(_TOP_SHARE * num_trials)
    if at_top < _ENOUGH_AT_TOP:
        caveats.append(
            f"PED-ANOVA goes by the best tenth, here {max(at_top, 1)} of {num_trials} trials; at "
            f"least {_ENOUGH_AT_TOP} are needed."
        )
    tops = {name: names[int(share.argmax())] for name, share in shares.items()}
    if len(set(tops.values())) > 1:
        words = ", ".join(f"{name} puts {field} first" for name, field in tops.items())
        caveats.append(
            f"The two disagree: {words}. fANOVA weighs all of the range, PED-ANOVA what the best "
            "trials have in common."
        )
    if searcher == "tpe":
        caveats.append(
            "The searcher (TPE) went back to what looked good, so that the trials do not cover the "
            "space evenly; what it seldom tried weighs little here."
        )
    return tuple(caveats)
