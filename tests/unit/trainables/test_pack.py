"""Models that train as one are the models that each would have become alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from raysweep.trainables.dataset import Dataset
from raysweep.trainables.images.image_head import ImageHead
from raysweep.trainables.learner import Learner
from raysweep.trainables.pack import Pack, pack_key
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.texts.sentiment import Sentiment
from raysweep.trainables.trainer import Trainer, TrainingDivergedError

# For each family that packs: what all share, and what each has of its own.
CASES: dict[str, list[tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "image_head": [
        (
            {"batch_size": 32, "hidden_sizes": "16,8"},
            [
                {},
                {"dense_l2": 0.01, "input_dropout": 0.0},
                {"dense_dropout": (0.0, 0.3), "learning_rate": 0.01},
                {"dense_dropout": 0.0, "label_smoothing": 0.2, "input_dropout": 0.6},
            ],
        ),
        (
            {"batch_size": 479, "input_batchnorm": False, "dense_batchnorm": True}
            | {"image_size": True, "pooling": "mean", "optimizer": "sgd"},
            [{"input_dropout": 0.0}, {"input_dropout": 0.0, "dense_l2": 0.1}],
        ),
        (
            {"input_batchnorm": True, "hidden_sizes": "", "dense_dropout": 0.0},
            [{"learning_rate": 0.1}, {"label_smoothing": 0.5}],
        ),
    ],
    "matrix_factorization": [
        ({"batch_size": 64}, [{}, {"embedding_l2": 0.0}, {"bias_l2": 0.5, "learning_rate": 0.1}]),
        (
            {"batch_size": 64, "l2_on": "table", "biases": False, "optimizer": "adagrad"},
            [{"embedding_l2": 0.0}, {"embedding_l2": 1e-3}],
        ),
        ({"batch_size": 64, "implicit_feedback": True}, [{}, {"implicit_l2": 0.0}]),
    ],
    "sentiment": [
        (
            {
                "batch_size": 64,
                "filter_widths": (2, 3),
                "num_filters": (4,),
                "precision": "float32",
            },
            [
                {},
                {"word_dropout": 0.0, "dense_l2": 0.01, "embedding_l2": 0.001},
                {"channel_dropout": 0.3, "conv_dropout": 0.0, "learning_rate": 0.01},
                {"pool_dropout": 0.2, "dense_dropout": 0.0},
            ],
        ),
        (
            {"architecture": "dense", "embedding_phases": "1xfrozen,9xtrainable"},
            [{"embedding_dropout": 0.0, "embedding_l2": 0.01}, {"dense_dropout": 0.1}],
        ),
        (
            {"architecture": "lstm", "lstm_size": 8, "batch_size": 64},
            [{"dense_dropout": 0.0}, {"word_dropout": 0.4}, {"learning_rate": 0.01}],
        ),
    ],
    "char_rnn": [
        (
            {"hidden_size": 8, "sequence_length": 16, "num_layers": 2},
            [{}, {"input_dropout": 0.2, "layer_dropout": 0.0}, {"output_dropout": 0.0}],
        ),
        (
            {"hidden_size": 8, "sequence_length": 16, "cell": "gru", "tied_weights": True},
            [{"max_norm": 0.1, "output_dropout": 0.0}, {"learning_rate": 0.01}],
        ),
    ],
    "word_vectors": [
        (
            {"window": 5, "batch_size": 128, "embedding_size": 8, "hidden_size": 8},
            [
                {},
                {"embedding_dropout": 0.3, "learning_rate": 0.01},
                {"hidden_dropout": 0.2, "frequent": 1.0},
            ],
        ),
        (
            {"task": "skip_gram", "window": 5, "batch_size": 128, "embedding_size": 8},
            [{"frequent": 0.1}, {"embedding_dropout": 0.5}, {"learning_rate": 0.02}],
        ),
    ],
    "ratings_net": [
        (
            {"batch_size": 64, "hidden_sizes": "16,8"},
            [
                {},
                {"embedding_dropout": 0.0, "dense_l2": 0.01, "embedding_rate": 1.0},
                {"dense_dropout": (0.0, 0.4), "learning_rate": 0.01, "implicit_l2": 0.1},
            ],
        ),
        (
            {"batch_size": 64, "factorization": False, "implicit_feedback": False},
            [{"dense_dropout": 0.0}, {"dense_dropout": 0.3, "embedding_l2": 0.0}],
        ),
    ],
}


def learners(
    family: type[Learner[Any]], dataset: Dataset, shared: dict[str, Any], own: list[dict[str, Any]]
) -> list[Learner[Any]]:
    configs = [family.config_class.create({"epochs": 4, **shared, **each}) for each in own]
    assert len({pack_key(family, config) for config in configs}) == 1
    return [family(config, dataset.arrays) for config in configs]


def flat(state: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(state, dict):
        return {path: state}
    return {k: v for key, one in state.items() for k, v in flat(one, f"{path}/{key}").items()}


def assert_alike(packed: Learner[Any], alone: Learner[Any]) -> None:
    one, other = flat(packed.state_dict()), flat(alone.state_dict())
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=2e-5, msg=name)


def test_packed_models_are_those_trained_alone(
    learner_class: type[Learner[Any]], tiny_dataset: Dataset
) -> None:
    """Curves, weights and optimisers' states, also when the pack loses a member half-way."""
    for shared, own in CASES[learner_class.name]:
        packed, alone = (learners(learner_class, tiny_dataset, shared, own) for _ in range(2))
        pack = Pack(packed)
        for epoch in range(4):
            if epoch == 2:
                alone.pop(), packed.pop()
                pack = Pack(packed)
            for mine, theirs in zip(pack.run_epoch(), alone, strict=True):
                assert mine == pytest.approx(Trainer(theirs).run_epoch(), rel=1e-4, abs=1e-5)
        for mine, theirs in zip(packed, alone, strict=True):
            assert_alike(mine, theirs)


def test_a_packed_model_goes_on_alone_and_back(ratings_dataset: Dataset) -> None:
    """What is saved from a pack is a learner's whole state."""
    own: list[dict[str, Any]] = [{}, {"learning_rate": 0.05}]
    make = lambda: learners(MatrixFactorization, ratings_dataset, {}, own)  # noqa: E731
    packed, alone = make(), make()
    Pack(packed).run_epoch()
    again = make()
    for learner, other in zip(again, packed, strict=True):
        learner.load_state_dict(copy.deepcopy(other.state_dict()))
        Trainer(learner).run_epoch()
    Pack(again).run_epoch()
    for learner, other in zip(again, alone, strict=True):
        for _ in range(3):
            Trainer(other).run_epoch()
        assert_alike(learner, other)


def test_one_that_diverges_leaves_the_others_alone(ratings_dataset: Dataset) -> None:
    wild = {"optimizer": "sgd", "schedule": "constant", "batch_size": 64, "epochs": 30}
    own = [{"learning_rate": 10.0}, {"learning_rate": 0.01}]
    packed, alone = (learners(MatrixFactorization, ratings_dataset, wild, own) for _ in range(2))
    pack = Pack(packed)
    failed: Any = None
    while not isinstance(failed, TrainingDivergedError):
        failed, fine = pack.run_epoch()
        assert fine == pytest.approx(Trainer(alone[1]).run_epoch(), rel=1e-4)


@pytest.mark.parametrize(
    ("family", "fields", "packs"),
    [
        (MatrixFactorization, {"embedding_l2": 0.5}, True),
        (MatrixFactorization, {"num_factors": 3}, False),
        (MatrixFactorization, {"seed": 1}, False),
        (ImageHead, {"dense_dropout": 0.1, "dense_l2": 0.0}, True),
        (ImageHead, {"dense_batchnorm": True}, False),
        (ImageHead, {"variant_share": 0.5}, False),
        (Sentiment, {"word_dropout": 0.5, "dense_l2": 0.1}, True),
        (Sentiment, {"filter_widths": (7,)}, False),
    ],
)
def test_only_models_of_one_shape_and_order_of_batches_share_a_pack(
    family: type[Learner[Any]], fields: dict[str, Any], packs: bool
) -> None:
    create: Callable[..., Any] = family.config_class.create
    one, other = pack_key(family, create({})), pack_key(family, create(fields))
    assert (one == other) == packs
