"""A trial outside of Ray Tune: its folder, its checkpoints, and what its configuration holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysweep.core.storage import Storage

if TYPE_CHECKING:
    from raysweep.trainables.learner import Learner

__all__ = [
    "BEST",
    "INDEX",
    "LAST",
    "STATE",
    "load_best",
    "member_configs",
    "member_reports",
    "pack_config",
    "trial_folder",
]

LAST = "last.safetensors"
BEST = "best.safetensors"
STATE = "state.json"  # of the user's own Ray Tune trainables
INDEX = "trial_index"
PACK = "pack"


def trial_folder(index: int) -> str:
    """The folder of a trial, relative to its run."""
    return f"trials/{index:05d}"


def pack_config(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The configuration of a pack, from those of its members, each with its `trial_index`."""
    return {INDEX: configs[0][INDEX], PACK: [dict(config) for config in configs]}


def member_configs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configurations, each with its `trial_index`, that one of Ray Tune's trials trains."""
    return list(config.get(PACK) or [config])


def member_reports(
    config: Mapping[str, Any], result: Mapping[str, Any]
) -> list[tuple[int, dict[str, Any]]]:
    """What a result says, for each trial of the run: its index and what it reports."""
    return [(each.get(INDEX, config[INDEX]), each) for each in result.get("members", [result])]


def load_best(
    learner_class: type[Learner[Any]], arrays: Mapping[str, Any], folder: Storage, name: str = BEST
) -> Learner[Any]:
    """Builds the learner that a checkpoint describes, with its weights, on the CPU.

    Args:
        learner_class: the family.
        arrays: `Dataset.arrays` of the run.
        folder: the trial's or the run's `best` folder.
        name: the checkpoint's file name.

    Raises:
        FileNotFoundError: no such checkpoint.
    """
    from raysweep.trainables import checkpoint  # imports PyTorch

    state, header = checkpoint.load(folder, name)
    learner = learner_class(learner_class.config_class.create(header["config"]), arrays)
    learner.model.load_state_dict(state["model"])
    reached = header["best"] if name == BEST else header["history"][-1]
    learner.epoch = int(reached["epoch"])
    return learner
