"""Image heads: what trains, where normalisation and dropout sit, streams, bad configurations."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.images.config import ImageHeadConfig
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.images.network import BatchNorm, Dropout, HeadNet, pool
from raysweep.trainables.learner import seed_everything
from raysweep.trainables.trainer import Trainer

PLAIN = {"input_batchnorm": False, "input_dropout": 0.0, "dense_dropout": 0.0}


@pytest.fixture(scope="module")
def dataset(features_folder: Path) -> Dataset:
    return ImageHead.load_data(ImageHead.data_class.create({"dataset": str(features_folder)}))


def build(dataset: Dataset, **fields: Any) -> ImageHead:
    values = {"epochs": 3, "batch_size": 32, "hidden_sizes": "16", **fields}
    return ImageHead(ImageHeadConfig.create(values), dataset.arrays)


def rows_of(learner: ImageHead, epoch: int = 1) -> torch.Tensor:
    return torch.cat([batch[1] for batch in learner.batches(seed_everything(0, epoch))])


def test_a_head_learns_the_classes(dataset: Dataset) -> None:
    learner = build(dataset, epochs=8, learning_rate=0.01)
    results = [Trainer(learner).run_epoch() for _ in range(8)]
    assert results[-1]["val_accuracy"] > 0.85


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 3 * 160),
        ({"variants": "none"}, 160),
        ({"variants": "mirrored"}, 2 * 160),
        ({"variant_share": 0.25}, 160 + 80),
    ],
)
def test_the_variants_that_are_asked_for_train(
    dataset: Dataset, fields: dict[str, Any], count: int
) -> None:
    learner = build(dataset, **fields)
    assert len(rows_of(learner)) == count
    assert learner.num_batches() == -(-count // 32)


def test_a_share_of_the_variants_is_drawn_anew_in_each_epoch(dataset: Dataset) -> None:
    learner = build(dataset, variant_share=0.25)
    first, second = (set(map(tuple, rows_of(learner, e).tolist())) for e in (1, 2))
    originals = dataset.arrays["train_sizes"][dataset.arrays["train_variants"] == 0]
    assert set(map(tuple, originals.tolist())) <= first & second
    features = [
        {
            b[0][k].numpy().tobytes()
            for b in learner.batches(seed_everything(0, e))
            for k in range(len(b[0]))
        }
        for e in (1, 2)
    ]
    assert len(features[0]) == len(features[1]) == 240
    assert 160 < len(features[0] & features[1]) < 220


def test_features_labels_and_sizes_of_a_batch_belong_together(dataset: Dataset) -> None:
    arrays = dataset.arrays
    place = {row.tobytes(): k for k, row in enumerate(arrays["train_features"])}
    for features, sizes, labels in build(dataset).batches(seed_everything(0, 1)):
        rows = [place[row.numpy().tobytes()] for row in features]
        np.testing.assert_array_equal(labels, arrays["train_labels"][rows])
        np.testing.assert_array_equal(sizes, arrays["train_sizes"][rows])


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_is_done_once_and_right(dataset: Dataset, how: str) -> None:
    learner = build(dataset, pooling=how)
    array = dataset.arrays["train_features"].astype(np.float32)
    expected = array.mean((2, 3)) if how == "mean" else array.max((2, 3))
    np.testing.assert_allclose(learner.train_features, expected, rtol=1e-6)
    assert learner.train_features is learner.train_features
    result = Trainer(learner).run_epoch()
    assert result["val_loss"] > 0
    assert torch.equal(pool(torch.ones(2, 5), how), torch.ones(2, 5)), "rows are left alone"


def test_sites_are_where_the_fields_say() -> None:
    config = ImageHeadConfig.create(
        {
            "hidden_sizes": "8,4",
            "dense_batchnorm": "false,true",
            "dense_dropout": "0.1,0.2",
            "input_dropout": 0.3,
        }
    )
    net = HeadNet(config, (6,), 3, torch.ones(2, 2))
    kinds = [[type(m) for m in part] for part in (net.input, net.hidden)]
    dense = [nn.Linear, nn.ReLU, Dropout, nn.Linear, nn.ReLU, BatchNorm, Dropout]
    assert kinds == [[BatchNorm, Dropout], dense]
    assert [m.rate for m in net.modules() if isinstance(m, Dropout)] == [0.3, 0.1, 0.2]


def test_no_dense_layer_is_a_linear_classifier(dataset: Dataset) -> None:
    learner = build(dataset, hidden_sizes="", **PLAIN)
    assert [p.shape for p in learner.model.parameters()] == [(3, 24), (3,)]
    assert Trainer(learner).run_epoch()["val_accuracy"] > 0


def test_the_image_size_is_standardised_and_used(dataset: Dataset) -> None:
    learner = build(dataset, image_size=True, **PLAIN)
    sizes = dataset.arrays["train_sizes"]
    np.testing.assert_allclose(learner.model.size_mean, sizes.mean(0), rtol=1e-5)
    np.testing.assert_allclose(learner.model.size_std, sizes.std(0), rtol=1e-5)
    rows = torch.zeros(2, 6, 2, 2), torch.tensor([[100.0, 100.0], [300.0, 100.0]])
    one, other = learner.model.eval()(*rows).detach()
    assert not torch.allclose(one, other)


def test_a_batch_of_one_row_trains(dataset: Dataset) -> None:
    learner = build(dataset, dense_batchnorm=True, variants="none", batch_size=53)
    sizes = [len(b[0]) for b in learner.batches(seed_everything(0, 1))]
    assert sizes == [53, 53, 53, 1]
    assert np.isfinite(Trainer(learner).run_epoch()["train_loss"])


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    torch.manual_seed(0)
    rows = torch.ones(200, 100)
    dropped = Dropout(0.4).train()(rows)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.02)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(Dropout(0.4).eval()(rows), rows)


def test_settled_normalisation_changes_nothing(dataset: Dataset) -> None:
    fields = {"hidden_sizes": "16,8", "image_size": True, "dense_dropout": 0.5}
    plain = build(dataset, **fields, input_batchnorm=False).model.eval()
    normal = build(dataset, **fields, dense_batchnorm=True).model.eval()
    for one, other in zip(normal.dense_layers(), plain.dense_layers(), strict=True):
        one.load_state_dict(other.state_dict())
    rows = [torch.from_numpy(dataset.arrays[f"val_{n}"]) for n in ("features", "sizes")]
    normal.settle(*rows)
    values = rows[0].flatten(1).double()
    np.testing.assert_allclose(normal.input[0].running_var, values.var(0, False), rtol=1e-5)
    torch.testing.assert_close(plain(*rows), normal(*rows), atol=1e-5, rtol=1e-5)


def test_label_smoothing_is_for_training_only(dataset: Dataset) -> None:
    plain, smooth = (build(dataset, label_smoothing=s, **PLAIN) for s in (0.0, 0.3))
    batch = next(iter(plain.batches(seed_everything(0, 1))))
    scores = plain.model(*batch[:2])
    expected = nn.functional.cross_entropy(scores, batch[2], label_smoothing=0.3)
    torch.testing.assert_close(smooth.loss(batch), expected)
    assert plain.validate() == smooth.validate()


def test_l2_weighs_every_dense_layer(dataset: Dataset) -> None:
    learner = build(dataset, hidden_sizes="8,4", dense_l2=0.01)
    assert [p.shape for p, _ in learner.penalties()] == [(8, 24), (4, 8), (3, 4)]
    assert not build(dataset, dense_l2=0.0).penalties()


def test_a_stream_trains_resumes_and_reads_what_memory_holds(features_folder: Path) -> None:
    values = {"dataset": str(features_folder), "stream": True, "stream_buffer": 150}
    dataset = ImageHead.load_data(ImageHead.data_class.create(values))
    assert not dataset.arrays["train_features"].size
    straight = build(dataset, variant_share=0.5)
    expected = [Trainer(straight).run_epoch() for _ in range(3)]
    assert expected[2]["train_loss"] < expected[0]["train_loss"]
    first, second = (build(dataset, variant_share=0.5) for _ in range(2))
    Trainer(first).run_epoch()
    second.load_state_dict(first.state_dict())
    assert [Trainer(second).run_epoch() for _ in range(2)] == expected[1:]


def test_variants_that_are_not_there_are_refused(
    make_features: Callable[..., Path], features_folder: Path, tmp_path: Path
) -> None:
    plain = ImageHead.data_class.create({"dataset": str(make_features(tmp_path, {"train": 40}))})
    more = ImageHead.data_class.create({"dataset": str(features_folder)})
    ImageHead.check(ImageHeadConfig(), plain)
    for fields in ({"variants": "none"}, {"variant_share": 0.5}):
        config = ImageHeadConfig.create(fields)
        ImageHead.check(config, more)
        with pytest.raises(UserError, match="have no variants of the images"):
            ImageHead.check(config, plain)


def with_backbone(dataset: Dataset, sizes: list[int]) -> tuple[Dataset, list[nn.Linear]]:
    torch.manual_seed(3)
    layers = [nn.Linear(i, o) for i, o in itertools.pairwise(sizes)]
    more = {
        f"backbone_{k}_{kind}": value.numpy()
        for k, layer in enumerate(layers)
        for kind, value in layer.state_dict().items()
    }
    return dataclasses.replace(dataset, arrays={**dataset.arrays, **more}), layers


@pytest.mark.parametrize("image_size", [False, True])
def test_a_start_from_the_backbone_gives_its_outputs(dataset: Dataset, image_size: bool) -> None:
    """Also with normalisation everywhere, which starts as the identity."""
    data, layers = with_backbone(dataset, [24, 16, 8, 3])
    fields = {"hidden_sizes": "16,8", "start": "backbone", "dense_batchnorm": True}
    model = build(data, image_size=image_size, **fields).model.eval()
    train = dataset.arrays["train_variants"] == 0
    rows = [torch.from_numpy(dataset.arrays[f"train_{n}"][train]) for n in ("features", "sizes")]
    own = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    torch.testing.assert_close(model(*rows), own(rows[0].float()), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(*rows)[0], build(data, **fields).model.eval()(*rows)[0])


def test_the_backbones_last_layer_is_left_out_where_the_classes_are_others(
    dataset: Dataset,
) -> None:
    data, layers = with_backbone(dataset, [24, 16, 1000])
    model = build(data, hidden_sizes="16", start="backbone").model
    first, last = model.dense_layers()
    assert torch.equal(first.weight, layers[0].weight)
    assert last.weight.shape == (3, 16)
    with pytest.raises(UserError, match="its first dense layer has 16 units for 24 inputs"):
        build(data, hidden_sizes="17", start="backbone")
    with pytest.raises(UserError, match="backbone_head=true"):
        build(dataset, start="backbone")


def test_bad_configurations_are_refused() -> None:
    with pytest.raises(UserError, match="dense_dropout has 2 values for 3 dense layers"):
        ImageHeadConfig.create({"hidden_sizes": "4,4,4", "dense_dropout": "0.1,0.2"})
    with pytest.raises(UserError, match="name the folder of features with --dataset"):
        ImageHead.load_data(ImageHead.data_class.create({}))
