"""Published results to compare ours with, each with recipes that train its architecture.

From the fifth lesson of fast.ai's "Deep Learning For Coders" (2016/17) and its notebooks; see
docs/reference.md. All of them were chosen on the set that they were measured on; ours are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GROUPS", "REFERENCES", "Recipe", "Reference", "references_for"]

GROUPS = ("ratings", "text", "images")


@dataclass(frozen=True)
class Recipe:
    """How we train an architecture.

    Attributes:
        label: as published, or with which changes.
        task: our trainable; empty where only a network's own classifier is used.
        settings: fields of its configuration, as far as they are not the default.
        data: fields of the data's configuration.
        features: of image features that come first, by the options of `raysweep features`.
        refit: whether validation data train, too, as they did for the published figure.
        quick: what is changed for `--quick`; None to leave the recipe out there.
    """

    label: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    refit: bool = False
    quick: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reference:
    """A published result.

    Attributes:
        key: a short name, unique.
        group: one of `GROUPS`.
        title: what was trained.
        metric: what was measured, by our name without `val_` or `test_`.
        value: the published figure; accuracies as shares.
        measured_on: the set that it was measured on.
        recipes: the first one is the architecture and the schedule as published.
        matches: fields by which a run is known to be of this architecture.
        datasets: names under which our runs have these data.
        stand_in: a dataset to train on where the published one is not to be had.
    """

    key: str
    group: str
    title: str
    metric: str
    value: float
    measured_on: str
    recipes: tuple[Recipe, ...]
    matches: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    stand_in: str = ""


_PUBLISHED, _OURS = "as published", "our settings"
_SMALL = {"dataset": "ml-latest-small"}
_TABLES = {"num_factors": 50, "embedding_l2": 1e-4, "l2_on": "table", "batch_size": 64}
_GLOVE = {"vectors": "glove.6B"}
_GRAMS = {**_GLOVE, "ngrams": 3, "vocabulary_size": 10_000, "length": 600}
_STEADY = {"schedule": "constant", "learning_rate": 1e-3}


def _ratings(key: str, title: str, value: float, task: str, settings: Mapping[str, Any],
             **matches: Any) -> Reference:  # fmt: skip
    published = Recipe(_PUBLISHED, task, {**_TABLES, **settings}, _SMALL, quick={})
    ours = Recipe(_OURS, task, {}, _SMALL, quick={})
    return Reference(
        key, "ratings", title, "mse", value, "the 20% that chose it", (published, ours),
        matches, ("ml-latest-small",), stand_in="ml-100k",
    )  # fmt: skip


def _sentiment(key: str, title: str, value: float, settings: Mapping[str, Any],
               ours: Recipe, data: Mapping[str, Any] | None = None,
               quick: Mapping[str, Any] | None = None, **matches: Any) -> Reference:  # fmt: skip
    published = Recipe(
        _PUBLISHED, "sentiment", {**_STEADY, **settings}, data or {}, refit=True, quick=quick or {}
    )
    return Reference(
        key, "text", title, "accuracy", value, "the 25,000 test reviews", (published, ours),
        matches, ("imdb",),
    )  # fmt: skip


def _ours(settings: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> Recipe:
    return Recipe(_OURS, "sentiment", settings, data or {}, refit=True)


_GLOVE_CNN = {"embedding_source": "glove", "word_dropout": 0.25, "embedding_dropout": 0.25,
              "conv_dropout": 0.25}  # fmt: skip
_GLOVE_OURS = {"ngrams": 3, "embedding_source": "glove", "learning_rate": 3e-3, "epochs": 5,
               "embedding_phases": "1xfrozen,4xtrainable", "word_dropout": 0.3,
               "dense_dropout": 0.5}  # fmt: skip
_WIDE = {"embedding_source": "glove", "filter_widths": (3, 4, 5), "conv_dropout": 0.0,
         "pool_dropout": 0.5, "epochs": 4, "embedding_phases": "2xtrainable,2xfrozen",
         "schedule": "phases", "lr_phases": "2x1e-3,2x1e-5"}  # fmt: skip
_WIDE_OURS = {"ngrams": 3, "embedding_source": "glove", "filter_widths": (3, 4, 5),
              "word_dropout": 0.5, "epochs": 4, "learning_rate": 2e-3}  # fmt: skip
_WRITER = {"embedding_size": 24, "hidden_size": 512, "num_layers": 2, "input_dropout": 0.2,
           "layer_dropout": 0.2, "sequence_length": 40, "carry_state": False, "epochs": 7,
           "learning_rate": 1e-3, "schedule": "cosine"}  # fmt: skip
_LITE = {"backbone": "efficientnet_lite0"}
_VGG = {"backbone": "vgg16", "resize": "squash"}

REFERENCES: tuple[Reference, ...] = (
    _ratings("dot-product", "dot product of 50 factors, no biases", 1.44, "matrix_factorization",
             {"biases": False, "epochs": 10, "schedule": "phases",
              "lr_phases": "1x1e-3,3x1e-2,6x1e-3"}, biases=False),
    _ratings("dot-product-biases", "dot product of 50 factors, and biases", 0.7979,
             "matrix_factorization",
             {"bias_l2": 0.0, "epochs": 22, "schedule": "phases",
              "lr_phases": "1x1e-3,6x1e-2,15x1e-3"}, biases=True),
    _ratings("ratings-network", "embeddings of 50 and 50, dense layer of 70", 0.7938, "ratings_net",
             {"hidden_sizes": (70,), "embedding_dropout": 0.3, "dense_dropout": (0.75,),
              "dense_l2": 0.0, "factorization": False, "side_features": False,
              "implicit_feedback": False, "embedding_rate": 1.0, "epochs": 8, **_STEADY}),
    _sentiment("dense", "embedding of 32, dense layer of 100", 0.8804,
               {"architecture": "dense", "word_dropout": 0.0, "embedding_dropout": 0.0,
                "epochs": 2},
               _ours({"architecture": "dense", "word_dropout": 0.3, "epochs": 4}),
               architecture="dense"),
    _sentiment("cnn", "64 filters of width 5", 0.8947, {}, _ours({}),
               architecture="cnn", embedding_source="random"),
    _sentiment("cnn-glove-frozen", "64 filters of width 5 on frozen GloVe vectors", 0.8978,
               {**_GLOVE_CNN, "embedding_phases": "2xfrozen", "epochs": 2},
               _ours(_GLOVE_OURS, _GRAMS), _GLOVE, quick={},
               architecture="cnn", embedding_source="glove", embedding_phases="2xfrozen"),
    _sentiment("cnn-glove", "the same, then an epoch with the vectors trained", 0.9008,
               {**_GLOVE_CNN, "embedding_phases": "2xfrozen,1xtrainable", "epochs": 3,
                "schedule": "phases", "lr_phases": "2x1e-3,1x1e-4"},
               _ours(_GLOVE_OURS, _GRAMS), _GLOVE, quick={},
               architecture="cnn", embedding_source="glove", filter_widths=[5]),
    _sentiment("cnn-widths", "filters of widths 3, 4 and 5 on GloVe vectors", 0.9036, _WIDE,
               _ours(_WIDE_OURS, _GRAMS), _GLOVE, quick={},
               architecture="cnn", embedding_source="glove", filter_widths=[3, 4, 5]),
    _sentiment("lstm", "LSTM of 100 units", 0.8776,
               {"architecture": "lstm", "hidden_size": 0, "embedding_dropout": 0.0,
                "dense_dropout": 0.0, "embedding_l2": 1e-6, "epochs": 5},
               _ours({"architecture": "lstm", "hidden_size": 0, "dense_dropout": 0.2,
                      "epochs": 5}),
               quick={"epochs": 2}, architecture="lstm"),
    Reference("characters", "text", "2 × LSTM of 512 on Nietzsche", "loss", 1.222,
              "the training text, after 7 epochs",
              (Recipe(_PUBLISHED, "char_rnn", _WRITER,
                      quick={"hidden_size": 128, "epochs": 2, "learning_rate": 4e-3}),
               Recipe(_OURS, "char_rnn", {"cell": "gru", "hidden_size": 481, "epochs": 10})),
              {"cell": "lstm"}, ("nietzsche",)),
    Reference("imagenet-vgg16", "images", "VGG16 as published, images squashed", "accuracy",
              0.6436, "a sample of the validation images",
              (Recipe(_PUBLISHED, "", features={"images": "imagenet", **_VGG}, quick={}),
               Recipe("EfficientNet-Lite0", "", features={"images": "imagenet", **_LITE},
                      quick={}))),
    Reference("imagenet-dense", "images", "VGG16, dense layers trained for an epoch more",
              "accuracy", 0.672, "50,000 validation images",
              (Recipe(_PUBLISHED, "image_head",
                      {"start": "backbone", "epochs": 1, "input_dropout": 0.0},
                      {"backbone_head": True},
                      {"images": "imagenet", **_VGG, "flip": True}, quick={}),)),
    Reference("dogscats", "images", "dogs v cats: dense layers on VGG16's features, average of 5",
              "accuracy", 0.9895, "the 2,000 validation images",
              (Recipe(_PUBLISHED, "image_head", {}, {}, {"images": "dogscats", **_VGG}, quick={}),
               Recipe("EfficientNet-Lite0", "image_head", {"input_dropout": 0.0}, {},
                      {"images": "dogscats", **_LITE}, refit=True, quick={})),
              {}, ("dogscats",)),
)  # fmt: skip


def references_for(task: str, dataset: str, config: Mapping[str, Any]) -> tuple[Reference, ...]:
    """Published results of a network like this one on these data.

    Args:
        task: our trainable.
        dataset: the name of the data.
        config: the default configuration of the run, lists as lists.
    """
    return tuple(
        reference
        for reference in REFERENCES
        if reference.recipes[0].task == task
        and dataset in reference.datasets
        and all(config.get(name) == value for name, value in reference.matches.items())
    )
