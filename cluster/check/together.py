"""Checks of models that train together: as a pack, and in several processes."""

from __future__ import annotations

import dataclasses

from raysweep.cluster.check.compare import Closeness, Epoch, difference, weights_of
from raysweep.cluster.check.configurations import changed, exact_fields, other_values
from raysweep.cluster.check.jobs import without_dropout
from raysweep.cluster.check.outcome import FAILED, NOT_APPLICABLE, NOT_TRIED, Outcome
from raysweep.cluster.check.subject import Subject
from raysweep.trainables.pack import Pack
from raysweep.trainables.stacked import Stackable

__all__ = ["packs", "processes"]

# As tests/unit/trainables has them for the built-in families: products of stacked matrices, and
# sums over processes, are rounded in another order.
_PACKED = Closeness(1e-4, 1e-5, 1e-3, 2e-5)
_SHARED = Closeness(1e-5, 0.0, 1e-4, 1e-5)
_NUM_WORKERS = 2


def packs(subject: Subject) -> Outcome:
    """Two models that train as one are those that each would have become alone."""
    learner_class = subject.learner_class
    if not learner_class.packed_fields and not issubclass(learner_class, Stackable):
        return Outcome(NOT_APPLICABLE, "the class names no packed_fields; its models train alone")
    exact = changed(subject, exact_fields(subject, dropout=True)) or subject.config
    same = dataclasses.replace(subject, config=exact)
    other = changed(same, other_values(same, sorted(learner_class.packed_fields))) or exact
    packed = [same.build(config) for config in (exact, other)]
    for learner, result in zip(packed, Pack(packed).run_epoch(), strict=True):
        if isinstance(result, Exception):
            return Outcome(NOT_TRIED, str(result))
        alone = same.train(same.build(learner.config))[0]
        problem = difference(Epoch(result, weights_of(learner.model)), alone, _PACKED)
        if problem:
            fix = (
                "packed_fields are those that change neither shapes nor the order of batches, and "
                "stacked_loss computes what loss does; take fields out, or correct it"
            )
            return Outcome(FAILED, f"in a pack and alone {problem}", fix)
    return Outcome.of("", "a pack of two equals each alone up to rounding", "")


def processes(subject: Subject) -> Outcome:
    """Two processes that share every batch train what one does."""
    splits = subject.learner_class.splits
    if splits not in ("no", "rows", "exactly"):
        return Outcome(FAILED, f"splits is {splits!r}", 'use "no", "rows" or "exactly"')
    if splits == "no":
        return Outcome(NOT_APPLICABLE, 'splits is "no": it trains in one process')
    if subject.device != "cpu":
        return Outcome(NOT_APPLICABLE, "is checked on the CPU; leave --gpus out")
    dropout = splits == "exactly"
    config = changed(subject, exact_fields(subject, dropout=dropout)) or subject.config
    learner = subject.build(config)
    if not dropout:
        without_dropout(learner)
    alone = subject.train(learner)[0]
    jobs = [
        subject.job(
            f"worker{rank}",
            config,
            rank=rank,
            num_workers=_NUM_WORKERS,
            no_dropout=not dropout,
        )
        for rank in range(_NUM_WORKERS)
    ]
    fix = (
        'set splits = "no" in the class if the loss or a layer looks at several rows at once '
        "(batch normalisation does), or if batches are not tuples of tensors with a row for each "
        "example"
    )
    answers = subject.run(jobs)
    for answer in answers:
        if answer.epoch is None:
            return Outcome(FAILED, f"with two processes: {answer.error}", fix)
        if problem := difference(answer.epoch, alone, _SHARED):
            return Outcome(FAILED, f"with two processes and with one {problem}", fix)
    more = "" if dropout else ", dropout left out"
    return Outcome.of("", f"two equal one up to rounding{more}", "")
