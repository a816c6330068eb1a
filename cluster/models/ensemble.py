"""Ensembles of a search's best heads: the average of their probabilities, and labels by it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.features.shard_index import Shard, ShardIndex
from raysweep.data.features.shards import Rows, read_shard, write_shard
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.trial_files import load_best, trial_folder

__all__ = [
    "Ensemble",
    "Labelled",
    "best_heads",
    "measure_ensemble",
    "pseudo_label",
    "write_labelled",
]

_FILE = "ensemble.json"


@dataclass(frozen=True)
class Ensemble:
    """Accuracy of heads alone and together, on the validation images.

    Attributes:
        trials: numbers of the heads' trials, the best first.
        accuracies: of each head alone, 0 to 1.
        accuracy: of the average of their probabilities, 0 to 1.
        loss: cross-entropy of that average, in nats.
        images: number of validation images.
    """

    trials: tuple[int, ...]
    accuracies: tuple[float, ...]
    accuracy: float
    loss: float
    images: int


@dataclass(frozen=True)
class Labelled:
    """Rows that a model labelled, with a probability high enough.

    Attributes:
        rows: features and their new labels, the surest first.
        confidence: probability of each label, float64 [n].
        seen: number of rows that were classified.
        confident: number of them whose probability is high enough; `rows` are the surest of these.
        index: of the features that they come from, with the run's classes.
    """

    rows: Rows
    confidence: np.ndarray
    seen: int
    confident: int
    index: ShardIndex


def best_heads(run: SavedRun, top: int) -> dict[int, ImageHead]:
    """Loads the models of the best trials, at their best epochs.

    Args:
        run: of image_head.
        top: how many.

    Returns:
        Models by the number of the trial, the best first.

    Raises:
        UserError: the run is of another kind, or has fewer trained models.
    """
    learner = run.request.learner
    if not issubclass(learner, ImageHead):
        raise UserError(
            f"{run.storage.uri} is a run of {learner.name}; name a run of {ImageHead.name}"
        )
    ranked = run.ledger.ranked()
    if len(ranked) < top:
        raise UserError(
            f"{run.storage.uri} has {len(ranked)} trials with a result, not {top}; lower --top, "
            "or search on with a larger --num-samples"
        )
    heads: dict[int, ImageHead] = {}
    for trial in ranked[:top]:
        head: Any = load_best(learner, run.dataset.arrays, run.storage / trial_folder(trial.index))
        heads[trial.index] = head
    return heads


def measure_ensemble(run: SavedRun, top: int = 5) -> Ensemble:
    """Averages the probabilities of the best heads on the validation images; writes the result.

    Args:
        run: of image_head; the result goes into its `ensemble.json`.
        top: how many of its best heads.

    Raises:
        UserError: as `best_heads`.
    """
    heads = best_heads(run, top)
    arrays = run.dataset.arrays
    features, sizes = arrays["val_features"], arrays["val_sizes"]
    probabilities = [_probabilities(head, features, sizes) for head in heads.values()]
    labels, mean = arrays["val_labels"], np.mean(probabilities, axis=0)
    ensemble = Ensemble(
        trials=tuple(heads),
        accuracies=tuple(float((p.argmax(1) == labels).mean()) for p in probabilities),
        accuracy=float((mean.argmax(1) == labels).mean()),
        loss=float(-np.log(np.maximum(mean[np.arange(len(labels)), labels], 1e-12)).mean()),
        images=len(labels),
    )
    run.storage.write(_FILE, json.dumps(dataclasses.asdict(ensemble), indent=1) + "\n")
    return ensemble


def pseudo_label(
    run: SavedRun, features: str, *, top: int = 1, confidence: float = 0.95, share: float = 0.25
) -> Labelled:
    """Labels images by the best heads where these are sure; labels that they have are not read.

    Args:
        run: of image_head.
        features: folder of features, made with the run's backbone; variants are left out.
        top: how many of the best heads are averaged.
        confidence: least probability of a label, above 0 and below 1.
        share: largest share of all training images, old and new, that are new, above 0 and below
            1; the surest are taken.

    Raises:
        UserError: as `best_heads`; a number is out of range; the features are of another backbone,
            or of images that the run validates or tests on; or no label is sure enough.
    """
    for name, value in (("confidence", confidence), ("share", share)):
        if not 0 < value < 1:
            raise UserError(f"--{name} {value}: give a number between 0 and 1, e.g. 0.9")
    heads = best_heads(run, top)
    storage = Storage(features)
    index = ShardIndex.read(storage)
    _check_same(run, index, features)
    labelled = [_label(list(heads.values()), storage, index, shard) for shard in index.shards]
    parts = [(rows, probable) for rows, probable in labelled if len(rows)]
    if not parts:
        raise UserError(f"{features} has no images; name a folder that `raysweep features` made")
    rows = _join([rows for rows, _ in parts])
    _check_new(run, rows, features)
    probable = np.concatenate([probable for _, probable in parts])
    order = np.argsort(-probable, kind="stable")
    confident = int((probable >= confidence).sum())
    if not confident:
        raise UserError(
            f"{features}: no label of its {len(rows)} images is as sure as {confidence:g} (surest: "
            f"{probable.max():.3f}); lower --confidence"
        )
    originals = int((run.dataset.info.train.variants == 0).sum())
    most = int(originals * share / (1 - share))
    chosen = order[: min(confident, most)]
    # The labels are the run's, whatever classes the folder was made with, if any.
    index = dataclasses.replace(index, classes=run.dataset.info.index.classes)
    return Labelled(_take(rows, chosen), probable[chosen], len(rows), confident, index)


def write_labelled(labelled: Labelled, folder: str) -> None:
    """Writes rows as features of one split `train`, for `--data extra=FOLDER`.

    Args:
        labelled: from `pseudo_label`.
        folder: a new folder, by path or URI.

    Raises:
        UserError: the folder holds features already.
    """
    storage, count = Storage(folder), len(labelled.rows)
    if storage.exists("index.json"):
        raise UserError(f"{folder} holds features already; name a new folder")
    shard = Shard(name="train-00000.parquet", split="train", rows=count)
    write_shard(storage, shard.name, labelled.rows, "train")
    index = dataclasses.replace(
        labelled.index, counts={"train": count}, shards=(shard,), augmentation={}, num_quarantined=0
    )
    index.write(storage)


@torch.inference_mode()
def _probabilities(head: ImageHead, features: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, float64 [n, classes]."""
    head.model.eval()
    scores = head.scores(head.tensor(features), head.tensor(sizes))
    probabilities: np.ndarray = nn.functional.softmax(scores.double(), 1).cpu().numpy()
    return probabilities


def _label(
    heads: Sequence[ImageHead], storage: Storage, index: ShardIndex, shard: Shard
) -> tuple[Rows, np.ndarray]:
    """A shard's original images with their likeliest class, and its probability, float64 [n]."""
    rows = read_shard(storage, shard, index.feature_shape)
    rows = _take(rows, np.flatnonzero(rows.variants == 0))
    if not len(rows):
        return rows, np.empty(0)
    sizes = np.stack([rows.heights, rows.widths], 1).astype(np.float32)
    mean = np.mean([_probabilities(head, rows.features, sizes) for head in heads], axis=0)
    return dataclasses.replace(rows, labels=mean.argmax(1).astype(np.int32)), mean.max(1)


def _take(rows: Rows, chosen: np.ndarray) -> Rows:
    arrays = {
        name: getattr(rows, name)[chosen]
        for name in ("features", "labels", "heights", "widths", "variants")
    }
    return Rows(**arrays, ids=[rows.ids[k] for k in chosen])


def _join(parts: Sequence[Rows]) -> Rows:
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("features", "labels", "heights", "widths", "variants")
    }
    return Rows(**arrays, ids=[name for part in parts for name in part.ids])


def _check_same(run: SavedRun, index: ShardIndex, features: str) -> None:
    of_run: ShardIndex = run.dataset.info.index
    for name in ("backbone", "weights_hash", "preprocessing"):
        expected, actual = getattr(of_run, name), getattr(index, name)
        if expected != actual:
            raise UserError(
                f"{features} has {name} {actual}, and the run's features {expected}; make both "
                "with the same `raysweep features` options"
            )


def _check_new(run: SavedRun, rows: Rows, features: str) -> None:
    """Raises UserError for images that the run validates or tests on: they must not train."""
    info = run.dataset.info
    held_out = {row.tobytes() for s in (info.validation, info.test) for row in s.features}
    num_held_out = sum(row.tobytes() in held_out for row in rows.features)
    if num_held_out:
        raise UserError(
            f"{features}: {num_held_out} of its images are validation or test images of the run; "
            "take them out, or the figures would be measured on images that trained"
        )
