"""raysweep: hyperparameter search and training on Ray. Results are pandas data frames.

    import raysweep

    run = raysweep.tune("matrix_factorization", ["l2", "embedding_size"], num_samples=30)
    run.trials          # a row a trial
    run.effects()       # what each field did, with 95% intervals
    raysweep.predict(run, [("196", "242")])

`tune`, `train` and `predict` do what the commands of the same names do; the same arguments resume
the same run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# The folders of this package lie beside it in a checkout, where links lead to them. A checkout
# without links (Git on Windows, `core.symlinks=false`) finds them all the same.
_HERE = Path(__file__).resolve().parent
if not (_HERE / "core").is_dir():
    __path__.append(str(_HERE.parent))

from raysweep.cluster.interface import Run, check, load_run, predict, train, tune  # noqa: E402
from raysweep.core.config import option  # noqa: E402
from raysweep.core.errors import UserError  # noqa: E402

if TYPE_CHECKING:
    from raysweep.data.sources.catalogue import CatalogueEntry
    from raysweep.search_spaces.space import Space
    from raysweep.trainables.dataset import DataConfig
    from raysweep.trainables.learner import Learner
    from raysweep.trainables.optim import TrainingConfig
    from raysweep.trainables.user.from_torch import LoaderConfig, from_torch
    from raysweep.trainables.user.tensors import TensorLearner, split

__all__ = [
    "CatalogueEntry",
    "DataConfig",
    "Learner",
    "LoaderConfig",
    "Run",
    "Space",
    "TensorLearner",
    "TrainingConfig",
    "UserError",
    "check",
    "from_torch",
    "load_run",
    "option",
    "predict",
    "split",
    "train",
    "tune",
]

# What a model of yours needs imports PyTorch, which takes seconds: only when it is asked for.
_LATER = {
    "CatalogueEntry": "raysweep.data.sources.catalogue",
    "DataConfig": "raysweep.trainables.dataset",
    "Learner": "raysweep.trainables.learner",
    "LoaderConfig": "raysweep.trainables.user.from_torch",
    "Space": "raysweep.search_spaces.space",
    "TensorLearner": "raysweep.trainables.user.tensors",
    "TrainingConfig": "raysweep.trainables.optim",
    "from_torch": "raysweep.trainables.user.from_torch",
    "split": "raysweep.trainables.user.tensors",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'raysweep' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
