"""The index of a folder of features: what its shards hold and how they were made; `index.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage

__all__ = ["FORMAT", "INDEX", "Shard", "ShardIndex"]

FORMAT = 1
INDEX = "index.json"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file.

    Attributes:
        name: the file's name in the folder.
        split: the split of all its rows.
        rows: number of rows; 0 if none of its images could be read.
    """

    name: str
    split: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a folder of features holds, and how they were made; `index.json`.

    Attributes:
        backbone: name of the network, as `raysweep.data.features.backbones` knows it.
        weights: as requested: `default`, `random`, or a file.
        weights_hash: of the weights themselves; equal hashes mean equal networks.
        weights_seed: of random weights.
        source: the folder that ids were relative to, by path or URI; it may have moved since.
        preprocessing: image size, `squash` or `crop`, interpolation, mean, std, precision, ….
        augmentation: mirror images (`flip`) and the number of random variants (`augment`), and how
            these may differ.
        feature_shape: of one row's features, e.g. `(512, 7, 7)`.
        classes: names, in the order of the labels.
        counts: rows of each split.
        shards: every file that belongs to the features, in order.
        complete: whether all images are in it or in quarantine.
        manifest: fingerprint of the list of images.
        request: everything that a resumed job must have in common with this one, by name.
        num_quarantined: images that could not be read; `quarantine.jsonl` says why.
        format: version of this format.
    """

    backbone: str
    weights: str
    weights_hash: str
    preprocessing: Mapping[str, Any]
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    feature_shape: tuple[int, ...]
    classes: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    complete: bool = False
    manifest: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    num_quarantined: int = 0
    weights_seed: int = 0
    source: str = ""
    format: int = FORMAT

    def write(self, storage: Storage) -> None:
        """Writes `index.json`, whole."""
        storage.write(INDEX, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, storage: Storage, *, complete: bool = True) -> ShardIndex:
        """Reads `index.json`.

        Args:
            storage: the folder of features.
            complete: refuse features of which some are still missing.

        Raises:
            UserError: there is none, it is damaged, of another format, or not complete.
        """
        try:
            values = json.loads(storage.read(INDEX))
            if values.get("format") != FORMAT:
                raise UserError(
                    f"{storage.uri}/{INDEX} has format {values.get('format')}, this version reads "
                    f"{FORMAT}; make the features again with `raysweep features`"
                )
            shards = tuple(Shard(**shard) for shard in values.pop("shards"))
            for name in ("feature_shape", "classes"):
                values[name] = tuple(values[name])
            index = cls(**values, shards=shards)
        except FileNotFoundError:
            raise UserError(
                f"{storage.uri} holds no features (it has no {INDEX}); "
                "`raysweep features IMAGES OUT` makes them"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{storage.uri}/{INDEX} is damaged ({error}); make the features again"
            ) from None
        if complete and not index.complete:
            raise UserError(
                f"the features in {storage.uri} are not complete; run the same "
                "`raysweep features` command again to finish them"
            )
        return index

    def of_split(self, split: str) -> list[Shard]:
        """The shards of a split, in order; raises UserError if there is no such split."""
        if split not in self.counts:
            raise UserError(f"the features have no split '{split}'{nearest(split, self.counts)}")
        return [shard for shard in self.shards if shard.split == split]
