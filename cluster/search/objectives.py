"""What searches with several objectives, or with constraints, add: a proposer, and refusals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.ledger import config_key
from raysweep.cluster.search.proposers import ATTEMPTS, TPEProposer
from raysweep.core.errors import UserError
from raysweep.search_spaces import sample
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.user.tune_task import TuneTask

if TYPE_CHECKING:
    import optuna

    from raysweep.cluster.runs.request import SearchRequest
    from raysweep.search_spaces import Suggest

__all__ = ["ParetoProposer", "Refusals"]

# A proposal takes half a second at 30 results, and in the end in proportion to their cube.
_MOST_RESULTS = 300
_FIRST_RANDOM = 10
_PROCESS_ATTEMPTS = 3  # after which a proposal that was not taken up comes from the estimator
_DRAWN = 200


class ParetoProposer(TPEProposer):
    """Several objectives: expected hypervolume improvement by Gaussian processes, Optuna's own.

    Daulton et al., "Differentiable Expected Hypervolume Improvement for Parallel Multi-Objective
    Bayesian Optimization", NeurIPS 2020. The first trials are drawn at random. What is asked for in
    some configurations only is proposed by the tree-structured Parzen estimator for several
    objectives (Ozaki et al., JAIR 73, 2022), and so is everything from 300 results on.
    `benchmarks/two_objectives.py` compares both.
    """

    def __init__(self, suggest: Suggest, seed: int, *modes: str) -> None:
        import optuna

        super().__init__(suggest, seed, *modes)
        # It warns of a package that would make it a little faster.
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def _sampler(self, index: int, attempt: int) -> optuna.samplers.BaseSampler:
        import optuna

        seed = self._seed_of(index, attempt)
        if attempt >= ATTEMPTS // 2:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Anew for each proposal: what one keeps from proposal to proposal is lost in a crash.
            tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_FIRST_RANDOM)
            finished = self._study.get_trials(
                deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)
            )
            if len(finished) > _MOST_RESULTS or attempt >= _PROCESS_ATTEMPTS:
                return tpe
            process = optuna.samplers.GPSampler(
                seed=seed,
                independent_sampler=tpe,
                n_startup_trials=_FIRST_RANDOM,
                warn_independent_sampling=False,
            )
        # Optuna has 2,048 points, 10 searches and 128 draws: five times the time, and more where
        # trials run beside, for fronts that are no better.
        process._n_preliminary_samples, process._n_local_search = 512, 4
        process._n_qmc_samples_ehvi = 32
        return process


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
