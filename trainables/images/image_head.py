"""Image heads: dense layers on features that a pretrained network made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.data.images.lists import path_of
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.images.config import ImageFeaturesData, ImageHeadConfig
from raysweep.trainables.images.network import HeadNet, pool
from raysweep.trainables.images.stacked import head_losses
from raysweep.trainables.learner import Learner
from raysweep.trainables.parallel import PartialBatch
from raysweep.trainables.stacked import Stackable, StackedModels

if TYPE_CHECKING:
    from raysweep.data.features.sets import FeatureSet, ImageFeatures
    from raysweep.data.features.stream import FeatureStream

__all__ = ["ImageHead"]

_EVALUATE_AT_ONCE = 1024
_SETTLE_ROWS = 1024
_MOST_SHOWN = 10_000
_NO_HEAD = "start=backbone needs the backbone's own dense layers; add --data backbone_head=true"
Batch = tuple[Tensor, ...]


class ImageHead(Learner[ImageHeadConfig], Stackable):
    """Classes of images, from features. Batches are (features, sizes, labels)."""

    name: ClassVar[str] = "image_head"
    summary: ClassVar[str] = "images: dense layers on precomputed features"
    config_class = ImageHeadConfig
    data_class: ClassVar[type[Config]] = ImageFeaturesData
    metrics: ClassVar[Mapping[str, str]] = {"val_accuracy": "max", "val_loss": "min"}
    splits: ClassVar[str] = "exactly"
    predictor: ClassVar[str] = "images"
    packed_fields: ClassVar[frozenset[str]] = frozenset(
        ("dense_l2", "input_dropout", "dense_dropout", "label_smoothing", "learning_rate")
    )

    model: HeadNet
    _pooled: Tensor | None = None

    @classmethod
    def load_data(cls, config: ImageFeaturesData) -> Dataset:
        """Reads the features, or leaves those of the training set in their shards, and splits."""
        from raysweep.data.features.sets import load

        data = load(
            _folder(config),
            validation=config.validation,
            test=config.test,
            split_seed=config.split_seed,
            stream=config.stream,
            buffer=config.stream_buffer,
            extra=config.extra,
        )
        arrays: dict[str, Any] = {
            "num_classes": len(data.index.classes),
            "feature_shape": data.index.feature_shape,
            **_columns("train", data.train),
            **_columns("val", data.validation),
        }
        if data.stream is not None:
            arrays["train_stream"] = data.stream
        if config.backbone_head:
            from raysweep.trainables.images.backbone_head import backbone_head, dense_layers

            for number, layer in enumerate(dense_layers(backbone_head(data.index, config.weights))):
                for kind, values in layer.state_dict().items():
                    arrays[f"backbone_{number}_{kind}"] = values.numpy()
        fingerprint, description = data.fingerprint, data.description
        return Dataset(arrays, _columns("test", data.test), data, fingerprint, description)

    @classmethod
    def check(cls, config: Any, data: Any) -> None:
        """Refuses start=backbone without its layers, and a choice of variants where none are."""
        from raysweep.core.storage import Storage
        from raysweep.data.features.shard_index import ShardIndex

        if config.start == "backbone" and not data.backbone_head:
            raise UserError(_NO_HEAD)
        if config.variants == "all" and config.variant_share == 1.0:
            return
        folder = _folder(data)
        made = ShardIndex.read(Storage(folder)).augmentation
        if not made.get("flip") and not made.get("augment"):
            raise UserError(
                f"variants={config.variants}, variant_share={config.variant_share:g}: the features "
                f"in {folder} have no variants of the images; make some with `raysweep features "
                "--flip` or `--augment`, or leave these fields and the space 'augmentation' out"
            )

    def build_model(self) -> nn.Module:
        """The network, and which rows it trains on."""
        model = HeadNet(
            self.config,
            self.data["feature_shape"],
            self.data["num_classes"],
            self.data["train_sizes"].float().cpu(),
        )
        self._select_rows()
        if self.config.start == "backbone":
            self._start_from_backbone(model)
        return model

    def _start_from_backbone(self, model: HeadNet) -> None:
        """Copies the backbone's dense layers from the first one on, as long as the shapes fit.

        Its last layer is left out unless the classes are as many. Normalisation starts as the
        identity on training images, so that the first outputs are the backbone's.

        Raises:
            UserError: the data hold none of its layers, or the first one does not fit.
        """
        if "backbone_0_weight" not in self.data:
            raise UserError(_NO_HEAD)
        copied = 0
        for number, layer in enumerate(model.dense_layers()):
            weight = self.data.get(f"backbone_{number}_weight")
            extra = 2 if self.config.image_size and not number else 0
            shape = (layer.out_features, layer.in_features - extra)
            if weight is None or tuple(weight.shape) != shape:
                break
            _copy_dense(layer, weight.cpu(), self.data.get(f"backbone_{number}_bias"))
            copied += 1
        if not copied:
            have = tuple(self.data["backbone_0_weight"].shape)
            raise UserError(
                f"start=backbone: its first dense layer has {have[0]} units for {have[1]} inputs, "
                f"and the head's is another; set hidden_sizes={have[0]},… and pooling to fit it"
            )
        if self._stream is None:
            rows = self._always[:_SETTLE_ROWS]
            features, sizes = (self.data[f"train_{n}"].cpu()[rows] for n in ("features", "sizes"))
            model.settle(features, sizes)

    def _select_rows(self) -> None:
        """Which rows train in every epoch, and of which a share is drawn."""
        variants = self.data["train_variants"].cpu()
        self._always = torch.nonzero(variants == 0).flatten()
        if self.config.variants == "none":
            variants = torch.zeros_like(variants)
        more = variants == -1 if self.config.variants == "mirrored" else variants != 0
        self._drawn_from = torch.nonzero(more).flatten()
        self._num_drawn = round(len(self._drawn_from) * self.config.variant_share)

    @property
    def _stream(self) -> FeatureStream | None:
        stream: FeatureStream | None = self.data.get("train_stream")
        return stream

    def num_batches(self) -> int:
        """Batches an epoch; the last one may be smaller."""
        return -(-(len(self._always) + self._num_drawn) // self.config.batch_size)

    def batches(self, generator: torch.Generator) -> Iterator[Batch | PartialBatch]:
        """Rows in an order drawn by `generator`."""
        drawn = torch.randperm(len(self._drawn_from), generator=generator)[: self._num_drawn]
        rows = torch.cat([self._always, self._drawn_from[drawn]])
        if self._stream is not None:
            yield from self._streamed(self._stream, rows, generator)
            return
        rows = rows[torch.randperm(len(rows), generator=generator)].to(self.device)
        for chosen in rows.split(self.config.batch_size):
            yield self._batch(self.train_features.index_select(0, chosen), chosen)

    def _batch(self, features: Tensor, rows: Tensor) -> Batch:
        sizes, labels = (self.data[f"train_{n}"].index_select(0, rows) for n in ("sizes", "labels"))
        return features, sizes, labels

    def _streamed(
        self, stream: FeatureStream, rows: Tensor, generator: torch.Generator
    ) -> Iterator[Batch | PartialBatch]:
        """Rows read from their shards; each worker has its own rows of a batch already."""
        wanted = np.zeros(len(self.data["train_labels"]), bool)
        wanted[rows.numpy()] = True
        seed = int(torch.randint(2**62, (1,), generator=generator))
        size = self.config.batch_size
        for part in stream.batches(seed, wanted, size, self.rank, self.num_workers):
            batch = self._batch(self.tensor(part.features), self.tensor(part.rows))
            if self.num_workers > 1:
                yield PartialBatch(batch, self.tensor(part.positions), part.total)
            else:
                yield batch

    @property
    def train_features(self) -> Tensor:
        """Training rows, pooled once and for all where they are pooled."""
        if self._pooled is None:
            features: Tensor = self.data["train_features"]
            if self.config.pooling == "flatten" or features.dim() < 3:
                self._pooled = features
            else:
                parts = features.split(_EVALUATE_AT_ONCE)
                self._pooled = torch.cat([pool(part, self.config.pooling) for part in parts])
        return self._pooled

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy, in nats, with smoothed labels if asked for; 0 without rows."""
        features, sizes, labels = batch
        scores = self.model(features, sizes)
        smoothing = self.config.label_smoothing
        total = nn.functional.cross_entropy(
            scores, labels, reduction="sum", label_smoothing=smoothing
        )
        return total / max(len(labels), 1)

    def stacked_loss(self, stacked: StackedModels, batch: Batch) -> Tensor:
        """Cross-entropy of every one of stacked heads."""
        return head_losses(stacked, *batch)

    def penalties(self) -> list[tuple[Tensor, Tensor | float]]:
        """dense_l2 on the weights (not the biases) of the dense layers."""
        if not self.config.dense_l2:
            return []
        return [(layer.weight, self.config.dense_l2) for layer in self.model.dense_layers()]

    def scores(self, features: Tensor, sizes: Tensor) -> Tensor:
        """Scores of the classes, float32 [n, num_classes]."""
        parts = zip(features.split(_EVALUATE_AT_ONCE), sizes.split(_EVALUATE_AT_ONCE), strict=True)
        return torch.cat([self.model(rows, size) for rows, size in parts])

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Accuracy (a share) and cross-entropy in nats."""
        labels = data[f"{prefix}_labels"]
        scores = self.scores(data[f"{prefix}_features"], data[f"{prefix}_sizes"])
        right = float((scores.argmax(1) == labels).double().mean())
        loss = float(nn.functional.cross_entropy(scores.double(), labels))
        return {f"{prefix}_accuracy": right, f"{prefix}_loss": loss}

    @torch.no_grad()
    def embeddings(self, info: ImageFeatures) -> dict[str, Embedding]:
        """Validation images as the last layer sees them, with what the head takes them for.

        Of more than 10,000 the first ones, which are any: features come in a shuffled order.
        """
        shown, index = info.validation, info.index
        labels, names = shown.labels[:_MOST_SHOWN], shown.ids[:_MOST_SHOWN]
        columns = (self.tensor(each[:_MOST_SHOWN]) for each in (shown.features, shown.sizes))
        parts = zip(*(each.split(_EVALUATE_AT_ONCE) for each in columns), strict=True)
        vectors = torch.cat([self.model.last_hidden(*part).float() for part in parts])
        shares = self.model.output(vectors).softmax(1).max(1)
        texts = {
            "image": names,
            "class": [index.classes[k] for k in labels],
            "predicted": [index.classes[k] for k in shares.indices],
            "probability": [f"{share:.3f}" for share in shares.values],
        }
        pictures = [path_of(index.source, name) for name in names] if index.source else []
        return {"images": Embedding(vectors.cpu().numpy(), texts, pictures)}


@torch.no_grad()
def _copy_dense(layer: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Copies a layer; what it has no inputs for (the image's size) starts without effect."""
    layer.weight.zero_()[:, : weight.shape[1]] = weight
    layer.bias.zero_()
    if bias is not None:
        layer.bias.copy_(bias)


def _folder(config: ImageFeaturesData) -> str:
    if not config.dataset:
        raise UserError("name the folder of features with --dataset; `raysweep features` makes one")
    if "://" in config.dataset:
        return config.dataset
    return str(Path(config.data_dir or ".", config.dataset).expanduser())


def _columns(name: str, rows: FeatureSet) -> dict[str, Any]:
    columns = {
        f"{name}_features": rows.features,
        f"{name}_labels": rows.labels,
        f"{name}_sizes": rows.sizes,
    }
    return columns | ({"train_variants": rows.variants} if name == "train" else {})
