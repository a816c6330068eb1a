"""What is measured: the size of a trial's state, the time of an epoch, memory that grows."""

from __future__ import annotations

from itertools import pairwise

from raysweep.cluster.check.outcome import FAILED, PASSED, Outcome
from raysweep.cluster.check.processes import STATE
from raysweep.cluster.check.subject import Subject

__all__ = ["memory", "size", "speed"]

# Allocators take some more at times; growth in every epoch by more than this is a leak.
_GROWTH_BYTES, _GROWTH_SHARE = 5_000_000, 0.005


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
