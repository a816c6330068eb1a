"""Checks that a training can be repeated: same seed, after a crash, beside others, validated."""

from __future__ import annotations

import torch

from raysweep.cluster.check.compare import difference, explain, weights_of
from raysweep.cluster.check.configurations import other_configurations
from raysweep.cluster.check.outcome import FAILED, NOT_TRIED, Outcome
from raysweep.cluster.check.subject import Subject

__all__ = ["leaks", "resuming", "same_seed", "validation"]


def same_seed(subject: Subject) -> Outcome:
    """Two fresh models come to the same numbers, in one process and in two."""
    first = subject.reference[0]
    problem = difference(subject.train(subject.build())[0], first, subject.exactly)
    if problem:
        fix = (
            "draw random numbers from PyTorch's generator alone, which is seeded for each epoch: "
            "torch.rand and torch.randperm instead of random, numpy.random, time or id"
        )
        return Outcome(FAILED, f"two trainings with one seed differ: {problem}", fix)
    other = subject.killed.epoch
    if other is None:
        return Outcome(FAILED, subject.killed.error, "make it train in a process of its own, too")
    problem = difference(other, first, subject.exactly)
    fix = (
        "nothing that differs from process to process may count: the order of a set or of files in "
        "a folder, hash(), id(), the time"
    )
    detail = f"metrics and weights are equal {subject.equal}, also in another process"
    return Outcome.of(problem and f"in another process {problem}", detail, fix)


def resuming(subject: Subject) -> Outcome:
    """Killed after its first epoch and started again, it goes on as if nothing had happened."""
    fix = (
        "all that the next epoch depends on belongs into state_dict and load_state_dict: extend "
        "both, or register counters and averages as buffers of the model"
    )
    killed = subject.killed
    if killed.code != -9:
        return Outcome(FAILED, f"its state cannot be written: {killed.error}", fix)
    answer = subject.run([subject.job("resumed", state=killed.folder)])[0]
    if answer.epoch is None:
        return Outcome(FAILED, f"its state cannot be loaded: {answer.error}", fix)
    problem = difference(answer.epoch, subject.reference[1], subject.exactly)
    detail = f"killed after epoch 1, epoch 2 is equal {subject.equal}"
    return Outcome.of(problem and f"after a restart {problem}", detail, fix)


def leaks(subject: Subject) -> Outcome:
    """Another configuration in the same process comes to what it comes to alone, and vice versa."""
    first = subject.reference[0]
    fix = (
        "keep nothing of a model outside of it: no global variable, class attribute, cache or "
        "default argument that a configuration changes; trials of a search share processes"
    )
    for number, config in enumerate(other_configurations(subject)):
        alone = subject.run([subject.job(f"alone{number}", config)])[0]
        if alone.epoch is None:
            continue  # It does not train, beside others or alone.
        try:
            beside = subject.train(subject.build(config))[0]
        except Exception as error:
            return Outcome(FAILED, f"beside another configuration: {explain(error)}", fix)
        problem = difference(beside, alone.epoch, subject.exactly)
        if not problem:
            problem = difference(subject.train(subject.build())[0], first, subject.exactly)
        detail = (
            f"two configurations in one process are each equal {subject.equal} to themselves alone"
        )
        return Outcome.of(problem and f"beside another configuration {problem}", detail, fix)
    return Outcome(NOT_TRIED, "no second configuration could be trained")


def validation(subject: Subject) -> Outcome:
    """Validating changes nothing: no weight, no buffer, and nothing of what is trained next."""
    learner = subject.build()
    subject.train(learner)
    before = weights_of(learner.model)
    results = [learner.validate() for _ in range(2)]
    for name, now in weights_of(learner.model).items():
        if not torch.equal(now, before[name]):
            fix = (
                "evaluate gets the model in eval mode; leave it there, or batch normalisation "
                "learns from the validation set"
            )
            return Outcome(FAILED, f"validating changed {name}", fix)
    if subject.device == "cpu" and results[0] != results[1]:
        name = next(n for n in results[0] if results[0][n] != results[1].get(n))
        problem = (
            f"validating twice gives {name} {results[0][name]:.10g} and {results[1][name]:.10g}"
        )
        return Outcome(
            FAILED, problem, "evaluate draws no random numbers: leave the model in eval mode"
        )
    problem = difference(subject.train(learner)[0], subject.reference[1], subject.exactly)
    fix = "evaluate changes nothing that training reads: no attribute, no counter, no generator"
    detail = "weights, buffers and the next epoch are the same with and without it"
    return Outcome.of(problem and f"after validating twice more {problem}", detail, fix)
