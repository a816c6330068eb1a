"""Which trial gets the next epochs: a new one, or one that was paused. No Ray, and no clock.

Trials pause at a few levels. A Gaussian process over configurations and epochs predicts what each
would reach in the end, and the next epochs go to whichever is expected to add most to the best. A
decision is a function of the seed, of its number and of what is known when it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from scipy.stats import qmc
from threadpoolctl import ThreadpoolController

from raysweep.cluster.search.curves.curve import (
    Curve,
    num_rows,
    observed,
    pause_levels,
    rows_at,
    under_way,
    watched_epochs,
)
from raysweep.cluster.search.curves.encoding import Encoder, Proposal
from raysweep.cluster.search.curves.improvement import least_squares, log_expected_improvement
from raysweep.cluster.search.curves.outlook import Outlook
from raysweep.cluster.search.curves.process import CurveProcess, Floats, Posterior, Rows
from raysweep.cluster.search.curves.transfer import Sources

__all__ = ["CurveSearch", "Decision"]

Answer = TypeVar("Answer")

_FIRST_POINTS = 6  # trials that are spread evenly, before anything is predicted
_FIRST_RESULTS = 3
# With earlier runs: their favourites come first, so many and so far from one another.
_FAVOURITES, _APART = 3, 0.2
_THEIRS = 75  # candidates near configurations that they liked
_SHARE_NEW = 0.4  # of all epochs, for first stages
_UNIFORM, _LOCAL, _CENTRES = 300, 150, 5
_CAUTIOUS = 1.5  # whole trainings, within which epochs weigh in full
_TRIED = 100  # of these candidates, until one is allowed


@dataclass(frozen=True)
class Decision:
    """What a free place is to do.

    Attributes:
        number: of the decision, from 0.
        target: the epoch to train to.
        trial: the paused trial that goes on; None for a new one.
        proposal: the configuration of a new trial.
        theta: the process's parameters if it was fitted for this decision, else None.
        rows: how many results it was fitted to.
        why: a word: default, given, spread, earlier, random, improve, resume.
        trust: of a fit with earlier runs, the weight that each has.
    """

    number: int
    target: int
    trial: int | None = None
    proposal: Proposal | None = None
    theta: tuple[float, ...] | None = None
    rows: int = 0
    why: str = ""
    trust: tuple[float, ...] = ()


@cache
def _threads() -> ThreadpoolController:
    """What sets the threads of NumPy and SciPy; to find their libraries takes a moment."""
    return ThreadpoolController()


class CurveSearch:
    """Decides what is trained next.

    Args:
        encoder: of the space.
        seed: of all draws.
        mode: "min" or "max".
        max_t: epochs of a whole training.
        allowed: whether configuration fields may be tried; all by default.
        sources: what earlier runs lead to expect; nothing by default.

    Attributes:
        levels: the epochs at which trials pause, and the last one.
        number: of decisions taken so far.
    """

    def __init__(
        self,
        encoder: Encoder,
        seed: int,
        mode: str,
        max_t: int,
        *,
        allowed: Callable[[Mapping[str, Any]], bool] | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._allowed = allowed or (lambda fields: True)
        self.levels = pause_levels(max_t)
        self._watched = watched_epochs(max_t)
        self._encoder, self._seed, self._max_t = encoder, seed, max_t
        self._sign = 1.0 if mode == "max" else -1.0
        self._trials: dict[int, Curve] = {}
        self._sources = sources
        self._process = CurveProcess(encoder.fields, num_sources=len(sources or ()))
        self._rows_at_fit = 0
        self.number = 0

    # What happens.

    def start(
        self,
        trial: int,
        params: Mapping[str, Any] | None,
        theta: tuple[float, ...] | None = None,
        *,
        target: int | None = None,
    ) -> int:
        """Notes that a new trial starts.

        Args:
            trial: its index.
            params: by the space's names; None for a configuration that the space cannot express.
            theta: of the decision.
            target: the epoch at which it pauses; the first level by default.

        Returns:
            the target.
        """
        target = target or self.levels[0]
        features = None if params is None else self._encoder.features(params)
        place = self._encoder.place(params or {})
        self._trials[trial] = Curve(trial, features, place, target)
        if self._sources is not None and features is not None:
            self._trials[trial].guesses = self._sources.guesses(features, self._max_t)
        self._taken(theta)
        return target

    def resume(self, trial: int, theta: tuple[float, ...] | None = None) -> int:
        """Notes that a paused trial goes on; returns the epoch at which it pauses next."""
        one = self._trials[trial]
        one.target, one.running = self._next_level(one.target), True
        self._taken(theta)
        return one.target

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Notes a trial's value after an epoch; one that is known already changes nothing."""
        one = self._trials[trial]
        if epoch <= one.epoch:
            return
        one.epoch = epoch
        if np.isfinite(value):
            value = self._sign * value
            one.best = value if one.best is None else max(one.best, value)
        else:
            one.over = True
        if epoch in self._watched:
            one.reached[epoch] = -np.inf if one.best is None else one.best
        if epoch >= one.target:
            one.running = False
            one.over |= epoch >= self._max_t

    def end(self, trial: int) -> None:
        """Notes that a trial ends, whatever it was sent to: it failed, or is not worth more."""
        one = self._trials[trial]
        one.running, one.over = False, True
        if one.target not in one.reached:
            one.reached[one.target] = -np.inf if one.best is None else one.best

    def epoch(self, trial: int) -> int:
        """Epochs that a trial has done, as far as is known."""
        return self._trials[trial].epoch

    def num_epochs(self) -> int:
        """Epochs of all trials; what is under way counts as done."""
        return sum(t.target if t.running else t.epoch for t in self._trials.values())

    # What is done about it.

    def decide(self, *, may_start: bool = True) -> Decision | None:
        """What to do next.

        Args:
            may_start: whether another trial may be started.

        Returns:
            the decision; None where there is nothing to do before another result arrives.
        """
        # One thread: no fewer cores for trials, and the same sums whatever the machine.
        with _threads().limit(limits=1):
            return self._decide(may_start)

    def _decide(self, may_start: bool) -> Decision | None:
        number = self.number
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, number)))
        num_results = num_rows(self._trials.values())
        early = len(self._trials) < _FIRST_POINTS or num_results < _FIRST_RESULTS
        if self._sources is not None:
            early = len(self._trials) < _FAVOURITES or num_results < 1
        paused = [
            t
            for t in self._trials.values()
            if not t.running and not t.over and t.features is not None
        ]
        if early and may_start:
            first = self._spread if self._sources is None else self._favourite
            if spread := first(number, rng):
                return spread
        if num_results < 1 or not (paused or may_start):
            return None
        wants_new = self._wants_new() or not paused
        if wants_new and may_start:
            ignorance = 0.0 if self._sources is not None else 10 / (10 + len(self._trials))
            chance = max(0.2, ignorance)
            if rng.random() < chance:
                if proposal := self._unlike(rng.random((20, self._encoder.num_axes))):
                    return Decision(number, self.levels[0], None, proposal, why="random")
                may_start = False
        if not paused and not may_start:
            return None
        before = self._process.theta, self._rows_at_fit
        theta, fitted = self._fit(), self._rows_at_fit
        rows, z = observed(self._trials.values(), self._max_t)
        pending = under_way(self._trials.values(), self._max_t)
        posterior = self._process.condition(rows, z)
        trust = posterior.trust() if theta is not None else ()
        best = float(z.max())
        if len(pending):
            means = posterior.at(pending)[0]
            rows = rows.and_those(pending)
            z = np.concatenate([z, means])
            best = max(best, float(means.max()))
            posterior = self._process.condition(rows, z)
        if wants_new and may_start:
            proposal = self._improve(rng, posterior, best)
            if proposal is not None:
                return Decision(
                    number, self.levels[0], None, proposal, theta, fitted, "improve", trust
                )
        if not paused:
            # As if nothing had been asked: what is not decided is not written down either.
            self._process.theta, self._rows_at_fit = before
            return None
        trial = self._most_promising(paused, posterior, best)
        target = self._next_level(trial.target)
        return Decision(number, target, trial.index, None, theta, fitted, "resume", trust)

    def num_results(self) -> int:
        """How many results the model knows; see `num_rows`."""
        return num_rows(self._trials.values())

    def ask(self, question: Callable[[Outlook], Answer]) -> Answer | None:
        """Asks about the future, by the process as it was last fitted; None before it was."""
        if not self._rows_at_fit:
            return None
        with _threads().limit(limits=1):
            trials = list(self._trials.values())
            seed = (self._seed, self.num_results(), 2)
            known = Outlook(
                trials,
                self._process,
                self._encoder,
                self.levels,
                self._sign,
                seed,
                sources=self._sources,
            )
            return question(known)

    def restore(self, number: int, decisions: Sequence[Mapping[str, Any]]) -> None:
        """Takes back what was decided before, and what the process was fitted to.

        Args:
            number: of decisions.
            decisions: in order, those with a fit with its `theta` and `rows`.
        """
        self.number = number
        for decision in decisions:
            if "theta" in decision:
                self._process.theta = np.array(decision["theta"])
                self._rows_at_fit = int(decision["rows"])

    def _taken(self, theta: tuple[float, ...] | None) -> None:
        self.number += 1
        if theta is not None:
            self._process.theta = np.array(theta)

    def _next_level(self, level: int) -> int:
        return self.levels[self.levels.index(level) + 1]

    def _wants_new(self) -> bool:
        """Whether first stages had less than their share."""
        # What is under way counts as done.
        epochs = [t.target if t.running else t.epoch for t in self._trials.values()]
        return sum(min(e, self.levels[0]) for e in epochs) < _SHARE_NEW * sum(epochs)

    def _spread(self, number: int, rng: np.random.Generator) -> Decision | None:
        axes, count = self._encoder.num_axes, len(self._trials)
        sobol = qmc.Sobol(max(1, axes), seed=np.random.default_rng(self._seed))
        place = sobol.random_base2(max(3, count.bit_length()))[count : count + 1, :axes]
        proposal = self._unlike(np.concatenate([place, rng.random((20, place.shape[1]))]), near=0.0)
        if proposal is None:
            return None
        return Decision(number, self.levels[0], None, proposal, why="spread")

    def _favourite(self, number: int, rng: np.random.Generator) -> Decision | None:
        """What earlier runs expect most of, and is unlike what was tried."""
        assert self._sources is not None
        best, d = self._sources.best, self._encoder.num_axes
        near = np.clip(best + 0.1 * rng.standard_normal(best.shape), 0, 1)
        places = np.concatenate([best, near, rng.random((_UNIFORM, d))])
        worth = self._sources.at_end(self._encoder.many(places)).mean(1)
        proposal = self._unlike(places[np.argsort(-worth, kind="stable")], near=_APART)
        if proposal is None:
            return None
        return Decision(number, self.levels[0], None, proposal, why="earlier")

    def _unlike(self, places: Floats, near: float = 0.1) -> Proposal | None:
        """The first of these places that is unlike every trial; None without one."""
        for k in self._unlike_trials(places, near):
            proposal = self._encoder.propose(places[k])
            if self._allowed(proposal.fields):
                return proposal
        return None

    def _unlike_trials(self, places: Floats, near: float = 0.1) -> Any:
        """Which places are far from every trial's; where none is, those that are no trial's."""
        trials = [t for t in self._trials.values() if t.features is not None]
        if not trials:
            return np.arange(len(places))
        known = np.array([t.place for t in trials])
        features = self._encoder.many(places)
        old = np.array([t.features for t in trials])
        far = least_squares(places, known) >= near * near * places.shape[1]
        new = least_squares(features, old) > 1e-12
        if (far & new).any():
            return np.flatnonzero(far & new)
        return np.flatnonzero(new)

    def _fit(self) -> tuple[float, ...] | None:
        """Fits the process if enough is new."""
        count = num_rows(self._trials.values())
        if count >= 15 and count < 1.15 * self._rows_at_fit + 1:
            return None
        if count == self._rows_at_fit:
            return None
        rows, z = observed(self._trials.values(), self._max_t)
        self._process.fit(rows, z)
        self._rows_at_fit = count
        return tuple(map(float, self._process.theta))

    def _improve(
        self, rng: np.random.Generator, posterior: Posterior, best: float
    ) -> Proposal | None:
        """The new configuration with the largest expected improvement; None if all were tried."""
        d = self._encoder.num_axes
        ranked = [t for t in self._trials.values() if t.best is not None and t.features is not None]
        ranked.sort(key=lambda t: -(t.best or 0.0))
        centres = np.array([t.place for t in ranked[:_CENTRES]])
        if not len(centres):  # nothing has a value yet
            centres = np.full((1, d), 0.5)
        local = centres[rng.integers(len(centres), size=_LOCAL)]
        if self._sources is not None:
            theirs = self._sources.best
            local = np.concatenate([local, theirs[rng.integers(len(theirs), size=_THEIRS)]])
        moved = rng.random(local.shape) < max(0.35, 1.5 / max(d, 1))
        sizes = 10.0 ** rng.uniform(-2, -0.5, (len(local), 1))
        local = np.clip(local + moved * sizes * rng.standard_normal(local.shape), 0, 1)
        places = np.concatenate([rng.random((_UNIFORM, d)), local])
        kept = self._unlike_trials(places)
        if not len(kept):
            return None
        features = self._encoder.many(places[kept])
        nobody = np.full(len(kept), -1, np.int64)
        guesses = None if self._sources is None else self._sources.at_end(features)
        mean, sd = posterior.at(Rows(features, nobody, np.ones(len(kept)), guesses))
        order = np.argsort(-log_expected_improvement(mean, sd, best), kind="stable")
        for k in order[:_TRIED]:
            proposal = self._encoder.propose(places[kept[k]])
            if self._allowed(proposal.fields):
                return proposal
        return None

    def _most_promising(self, paused: list[Curve], posterior: Posterior, best: float) -> Curve:
        asked = rows_at(paused, [self._max_t] * len(paused), self._max_t)
        mean, sd = posterior.at(asked)
        ahead = np.array([self._next_level(t.target) - t.target for t in paused], float)
        # At first too little is known for a long stage to be worth what it promises.
        early = self.num_epochs() < _CAUTIOUS * self._max_t
        worth = log_expected_improvement(mean, sd, best) - (1.0 if early else 0.5) * np.log(ahead)
        return paused[int(np.argmax(worth))]
