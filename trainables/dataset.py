"""A data set as a learner reads it: training, validation and test arrays, already split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raysweep.core.config import Config, option
from raysweep.core.errors import UserError

__all__ = ["DataConfig", "Dataset"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig(Config):
    """The data's configuration of a model that is trained on whichever data are named."""

    dataset: str = option("", "a known dataset, or a file or folder of yours")
    data_dir: str | None = option(None, "folder with your copy of the dataset")

    def path(self) -> Path:
        """Where the dataset lies; a known one is fetched.

        Raises:
            UserError: none is named, or it cannot be fetched.
        """
        from raysweep.data.sources.fetch import dataset_path

        if not self.dataset:
            raise UserError("name the data: --dataset NAME, or a file or folder of yours")
        return dataset_path(self.dataset, self.data_dir)


@dataclass(frozen=True)
class Dataset:
    """A data set, ready for training.

    Attributes:
        arrays: all that a trial may read. Training arrays are named `train_…` and validation arrays
            `val_…`; a `val_x` has the form of its `train_x`, so that one can be appended to the
            other, as arrays or by a method `joined`. Everything else (sizes, names) has names of
            its own.
        test: the test set's arrays, named `test_…`; never handed to a search.
        info: what predictions and pictures need besides: ids, titles, words. Stays with the driver.
        fingerprint: a hash of the contents and of the split.
        description: one line for people.
        duplicates: whether examples of several sets may be equal, because different ones look
            alike; `raysweep check` refuses equal ones otherwise.
    """

    arrays: Mapping[str, Any]
    test: Mapping[str, Any]
    info: Any = None
    fingerprint: str = ""
    description: str = ""
    duplicates: bool = False

    def with_validation(self) -> Dataset:
        """The same with the validation examples among the training examples too.

        For a last training, when nothing is left to be chosen: metrics on the validation set then
        say nothing, since every array named `val_…` is appended to its `train_…`.

        Raises:
            UserError: training data cannot be appended to.
        """
        arrays = dict(self.arrays)
        if "train_stream" in arrays:
            raise UserError(
                "--refit needs the training data in memory, and --data stream=true leaves them in "
                "their shards; leave --refit out, or search without stream"
            )
        for name, array in self.arrays.items():
            if name.startswith("val_"):
                train = f"train_{name.removeprefix('val_')}"
                join = getattr(arrays[train], "joined", None)
                arrays[train] = join(array) if join else np.concatenate([arrays[train], array])
        description = f"{self.description}; validation examples are trained on"
        return dataclasses.replace(
            self,
            arrays=arrays,
            fingerprint=f"{self.fingerprint}-with-validation",
            description=description,
        )
