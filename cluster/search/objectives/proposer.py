"""Which configuration to try next where there are several objectives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from raysweep.cluster.search.proposers import ATTEMPTS, TPEProposer

if TYPE_CHECKING:
    import optuna

    from raysweep.search_spaces import Suggest

__all__ = ["ParetoProposer"]

# A proposal takes half a second at 30 results, and in the end in proportion to their cube.
_MOST_RESULTS = 300
_FIRST_RANDOM = 10
_PROCESS_ATTEMPTS = 3  # after which a proposal that was not taken up comes from the estimator


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
