"""The basics: the data load, an epoch runs; what it reports, and what it takes."""

from __future__ import annotations

import math
from itertools import pairwise

from raysweep.cluster.check.compare import explain
from raysweep.cluster.check.jobs import STATE
from raysweep.cluster.check.outcome import FAILED, PASSED, Outcome
from raysweep.cluster.check.subject import Subject

__all__ = ["data", "finite", "memory", "metrics", "size", "speed", "training"]

# Allocators take some more at times; growth in every epoch by more than this is a leak.
_GROWTH_BYTES, _GROWTH_SHARE = 5_000_000, 0.005


def data(subject: Subject) -> Outcome:
    """`load_data` returns a data set."""
    try:
        subject.load()
    except AttributeError as error:
        fix = "load_data returns a Dataset, as raysweep.split(inputs, labels) makes one"
        return Outcome(FAILED, explain(error), fix)
    return Outcome(PASSED, subject.dataset.description or "loaded")


def training(subject: Subject) -> Outcome:
    """A model is built, trained and validated without an error."""
    try:
        subject.look()
    except Exception as error:
        return Outcome(
            FAILED, explain(error), "make an epoch run; the message says what stopped it"
        )
    if subject.max_batches is None:
        return Outcome(PASSED, f"an epoch of {subject.num_batches:,} batches")
    cut = f"{subject.max_batches:,} of {subject.num_batches:,} batches"
    return Outcome(PASSED, f"an epoch is long; the checks train on {cut}")


def metrics(subject: Subject) -> Outcome:
    """`metrics` names what `evaluate` returns, for the validation and for the test set."""
    declared = subject.learner_class.metrics
    fix = 'evaluate(data, prefix) returns {f"{prefix}_NAME": …} for every val_NAME in `metrics`'
    wrong = [name for name in declared if not name.startswith("val_")]
    if wrong or not declared:
        problem = f"`metrics` has {wrong[0]}" if wrong else "`metrics` is empty"
        return Outcome(FAILED, problem, "every name in `metrics` begins with val_")
    modes = sorted(set(declared.values()) - {"min", "max"})
    if modes:
        return Outcome(FAILED, f"`metrics` has the direction {modes[0]!r}", 'use "min" or "max"')
    reported = sorted(set(subject.first) - {"train_loss"})
    if missing := [name for name in declared if name not in reported]:
        has = f"evaluate reports {', '.join(reported) or 'nothing'}"
        return Outcome(FAILED, f"{has}, and no {missing[0]}", fix)
    if problem := _test_names(subject):
        return Outcome(FAILED, problem, fix)
    return Outcome(PASSED, ", ".join(f"{n} ({m})" for n, m in declared.items()))


def _test_names(subject: Subject) -> str:
    """What is wrong with metrics of a test set; the validation set stands for it."""
    arrays = subject.dataset.arrays
    validation = {n.replace("val_", "test_", 1): v for n, v in arrays.items() if n[:4] == "val_"}
    if set(validation) != set(subject.dataset.test):
        return ""  # its test arrays are others than those that it is validated on
    tested = subject.build().test(validation)
    missing = [n for n in subject.learner_class.metrics if n.replace("val_", "test_") not in tested]
    if not missing:
        return ""
    return f'evaluate(data, "test") reports {", ".join(tested)}, and no test{missing[0][3:]}'


def finite(subject: Subject) -> Outcome:
    """No loss and no metric is NaN or infinite."""
    wrong = [n for n, v in subject.first.items() if not math.isfinite(v)]
    values = ", ".join(f"{n} {v:.4g}" for n, v in subject.first.items())
    problem = f"{wrong[0]} is {subject.first[wrong[0]]} after the first epoch" if wrong else ""
    fix = "lower learning_rate, or look for a division by 0 or the logarithm of 0"
    return Outcome.of(problem, values, fix)


def size(subject: Subject) -> Outcome:
    """What a trial writes after each epoch."""
    state = subject.killed.folder / STATE
    if not state.exists():
        return Outcome(FAILED, subject.killed.error, "see the line `resuming`")
    return Outcome(PASSED, f"{state.stat().st_size / 1e6:.2f} MB after each epoch")


def speed(subject: Subject) -> Outcome:
    """How long an epoch takes, validation included."""
    about = "" if subject.max_batches is None else "about "
    return Outcome(PASSED, f"{about}{subject.seconds:.2g} s an epoch on one core")


def memory(subject: Subject) -> Outcome:
    """Whether it takes more memory with every epoch."""
    after = subject.memory
    growth = min(later - earlier for earlier, later in pairwise(after))
    sizes = ", ".join(f"{each / 1e6:,.0f}" for each in after)
    detail = f"{sizes} MB after {len(after)} epochs"
    grows = growth > max(_GROWTH_BYTES, _GROWTH_SHARE * after[0])
    fix = (
        "keep no tensors from epoch to epoch: lists of losses or outputs hold whole graphs; keep "
        "float(loss)"
    )
    return Outcome.of(f"grows with every epoch: {detail}" if grows else "", detail, fix)
