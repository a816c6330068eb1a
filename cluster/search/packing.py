"""Whether trials of a search train as packs, and how many in one (`--pack`)."""

from __future__ import annotations

from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError
from raysweep.core.objectives import judged_by
from raysweep.search_spaces import sample
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import num_parameters
from raysweep.trainables.stacked import Stackable

__all__ = ["check_pack", "pack_size"]

# Measured on one core of a CPU (docs/benchmarks): eight models of fewer parameters take 0.5 to 0.8
# of the time that they take one by one. Larger ones are bound by arithmetic, and gain nothing.
_AUTO_SIZE, _AUTO_PARAMETERS = 8, 50_000
_SCHEDULERS = ("asha", "none")
_LARGEST = 256


# Measured of a process: trials that share one cannot be told apart.
_SHARED = ("memory_mb", "time_epoch_s")


def _shared(request: SearchRequest) -> list[str]:
    """What the search judges by and a pack could not measure."""
    named = judged_by(request.objectives, request.constraints)
    return [name for name in _SHARED if name in named]


def check_pack(request: SearchRequest, pack: str, num_workers: int = 1) -> None:
    """Refuses a `--pack` that the search cannot follow.

    Raises:
        UserError: not a number, `auto` or `off`; or a number where nothing can be packed.
    """
    if pack in ("auto", "off"):
        return
    if not pack.isdecimal() or not 1 <= int(pack) <= _LARGEST:
        raise UserError(f"--pack {pack}: use auto, off, or a number from 1 to {_LARGEST}")
    if int(pack) == 1:
        return
    if num_workers > 1:
        raise UserError(
            f"--pack {pack} puts trials into one process, and --workers {num_workers} a trial into "
            "several; leave one of them out"
        )
    if request.scheduler not in _SCHEDULERS:
        raise UserError(
            f"--pack {pack} goes with --scheduler asha or none: {request.scheduler} decides about "
            "one trial at a time; leave one of them out"
        )
    if shared := _shared(request):
        raise UserError(
            f"--pack {pack} trains several trials in one process, and {shared[0]} is measured of a "
            "process; leave one of them out"
        )


def pack_size(request: SearchRequest, pack: str, dataset: Dataset) -> int:
    """How many trials may train as one model; 1 if none.

    Args:
        request: the search, already `checked()`.
        pack: `auto`, `off` or a number.
        dataset: its data; `auto` asks how large a model of them is.
    """
    check_pack(request, pack)
    if pack != "auto":
        return 1 if pack == "off" else int(pack)
    learner = request.learner
    if request.gpus or not request.searches or request.scheduler not in _SCHEDULERS:
        return 1
    if _shared(request):
        return 1
    searched = sample(request.suggest(), 0)[1]
    if not issubclass(learner, Stackable) or not set(searched) <= learner.packed_fields:
        return 1
    small = num_parameters(learner, request.config({}), dataset.arrays) <= _AUTO_PARAMETERS
    return _AUTO_SIZE if small else 1
