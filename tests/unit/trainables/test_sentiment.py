"""Sentiment models: the networks compute what they say, and their fields do what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.texts.config import SentimentConfig, SentimentData, parse_embedding_phases
from raysweep.trainables.texts.network import SentimentNet
from raysweep.trainables.texts.sentiment import Sentiment, first_embedding
from raysweep.trainables.trainer import Trainer

ARCHITECTURES = ("dense", "cnn", "lstm")
NO_DROPOUT = dict.fromkeys(
    [f"{s}_dropout" for s in ("word", "embedding", "channel", "conv", "pool", "dense")], 0.0
)


def build(dataset: Dataset, arrays: Mapping[str, Any] | None = None, **fields: Any) -> Sentiment:
    values = {"precision": "float32", "learning_rate": 0.01, "hidden_size": 16, **fields}
    return Sentiment(SentimentConfig.create(values), {**dataset.arrays, **(arrays or {})})


def vectors(dataset: Dataset, dim: int = 6) -> dict[str, np.ndarray]:
    shape = (dataset.arrays["vocabulary_size"], dim)
    return {"vectors": np.random.default_rng(3).normal(size=shape).astype(np.float32)}


def some(learner: Sentiment, count: int = 7) -> tuple[Tensor, Tensor]:
    return learner.data["train_ids"][:count], learner.data["train_lengths"][:count]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "fields",
    [
        {"architecture": "dense", "dense_dropout": 0.2},
        {"architecture": "cnn", "dense_dropout": 0.2},
        {"architecture": "cnn", "filter_widths": "2,3,6", "pooling": 0, "num_filters": "8,4,16"},
        {"architecture": "lstm", "lstm_size": 16, "hidden_size": 0, "dense_dropout": 0.1},
    ],
)
def test_each_architecture_learns_three_classes(
    texts_dataset: Dataset, fields: dict[str, Any], precision: str
) -> None:
    learner = build(texts_dataset, epochs=8, batch_size=32, precision=precision, **fields)
    results = [Trainer(learner).run_epoch() for _ in range(8)]
    assert learner.data["num_classes"] == 3
    assert results[-1]["val_accuracy"] > 0.8
    assert learner.test(texts_dataset.test)["test_accuracy"] > 0.7


def test_accuracy_and_loss_are_what_they_are_called(texts_dataset: Dataset) -> None:
    learner = build(texts_dataset)
    result = Trainer(learner).run_epoch()
    ids, lengths, labels = (learner.data[f"val_{n}"] for n in ("ids", "lengths", "labels"))
    with torch.no_grad():
        scores = learner.model(ids, lengths)
    assert result["val_accuracy"] == pytest.approx(
        float((scores.argmax(1) == labels).float().mean())
    )
    assert result["val_loss"] == pytest.approx(float(nn.functional.cross_entropy(scores, labels)))


def _plain_cnn(model: Any, ids: Tensor, lengths: Tensor, pooling: int, places: str) -> Tensor:
    """The same network with PyTorch's modules, on padded arrays."""
    columns = torch.arange(ids.shape[1])
    words = (columns >= ids.shape[1] - lengths[:, None])[:, None]
    values = nn.functional.embedding(ids.long(), model.table).transpose(1, 2)
    branches = []
    for filters, bias in zip(model.filters, model.biases, strict=True):
        weight = filters.permute(0, 2, 1)
        convolved = nn.functional.conv1d(values, weight, bias, padding="same").relu() * words
        if pooling:
            before = -ids.shape[1] % pooling
            convolved = nn.functional.pad(convolved, (before, 0))
            pooled = nn.functional.max_pool1d(convolved, pooling)
            if places == "mean":  # over places with words; the others are 0
                counts = (lengths + pooling - 1) // pooling
                pooled = pooled.sum(2, keepdim=True) / counts[:, None, None]
            branches.append(pooled)
        else:
            branches.append(convolved.amax(2, keepdim=True))
    features = torch.cat(branches, 1).transpose(1, 2).flatten(1)
    hidden = nn.functional.linear(features, model.hidden.weight, model.hidden.bias).relu()
    scores: Tensor = model.output(hidden)
    return scores


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("widths", ["5", "2,3,6", "1", "4,7"])
@pytest.mark.parametrize(
    ("pooling", "places"),
    [(0, "each"), (1, "each"), (2, "each"), (3, "each"), (1, "mean"), (3, "mean")],
)
def test_the_packed_convolution_equals_pytorchs_on_padded_texts(
    texts_dataset: Dataset, precision: str, widths: str, pooling: int, places: str
) -> None:
    fields = {"filter_widths": widths, "num_filters": 8, "pooling": pooling, "places": places}
    learner = build(texts_dataset, precision=precision, **fields, **NO_DROPOUT)
    ids, lengths = some(learner, 30)
    labels = learner.data["train_labels"][:30]
    model: Any = learner.model
    with torch.no_grad():
        model.table.mul_(20)
        for bias in model.biases:
            bias.uniform_(-0.1, 0.1)
    tolerance = 1e-5 if precision == "float32" else 0.05
    grads = []
    scores = []
    for forward in (model, lambda i, n: _plain_cnn(model, i, n, pooling, places)):
        model.zero_grad()
        scores.append(forward(ids, lengths))
        nn.functional.cross_entropy(scores[-1], labels).backward()
        grads.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert float((scores[0] - scores[1]).detach().norm() / scores[1].detach().norm()) < tolerance
    for name, grad in grads[0].items():
        expected = grads[1][name]
        if name == "table":
            expected[0] = 0  # padding stays zero
        # Where two places tie in bfloat16, another of them takes the gradient.
        limit = tolerance if precision == "float32" else 0.3
        assert float((grad - expected).norm() / expected.norm()) < limit, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_other_texts_of_the_batch_change_nothing(texts_dataset: Dataset, architecture: str) -> None:
    learner = build(texts_dataset, architecture=architecture)
    ids, lengths = some(learner, 20)
    learner.model.eval()
    with torch.no_grad():
        together = learner.model(ids, lengths)
        alone = torch.cat([learner.model(ids[k : k + 1], lengths[k : k + 1]) for k in range(20)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"architecture": "lstm"}, {"pooling": 0}, {"pooling": 4, "places": "mean"}]
)
def test_padding_changes_nothing(texts_dataset: Dataset, fields: dict[str, Any]) -> None:
    learner = build(texts_dataset, **fields)
    ids, lengths = some(learner, 20)
    padded = torch.cat([torch.zeros(20, 9, dtype=ids.dtype), ids], 1)
    learner.model.eval()
    with torch.no_grad():
        expected, found = learner.model(ids, lengths), learner.model(padded, lengths)
    assert torch.allclose(expected, found, atol=1e-6)


def test_the_lstm_equals_pytorchs_on_each_text(texts_dataset: Dataset) -> None:
    learner = build(texts_dataset, architecture="lstm", **NO_DROPOUT)
    ids, lengths = some(learner)
    model: Any = learner.model
    with torch.no_grad():
        found = model.features(ids, lengths)
        for row, size, state in zip(ids, lengths.tolist(), found, strict=True):
            words = model.table[row[len(row) - size :].long()]
            assert torch.allclose(model.lstm(words[None])[0][0, -1], state, atol=1e-5)


def test_padding_keeps_a_vector_of_zeros(texts_dataset: Dataset) -> None:
    learner = build(texts_dataset, embedding_l2=1e-3)
    Trainer(learner).run_epoch()
    assert not learner.model.table[0].any()
    assert learner.model.table[1:].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_phases_freeze_and_train_the_embedding(texts_dataset: Dataset, architecture: str) -> None:
    fields = {"architecture": architecture, "embedding_l2": 0.01, "epochs": 4}
    learner = build(texts_dataset, embedding_phases="1xtrainable,2xfrozen,1xtrainable", **fields)
    moved = []
    for _ in range(4):
        before, output = learner.model.table.clone(), learner.model.output.weight.clone()
        Trainer(learner).run_epoch()
        moved.append(not torch.equal(before, learner.model.table))
        assert not torch.equal(output, learner.model.output.weight)
    assert moved == [True, False, False, True]


def test_a_resumed_training_keeps_to_the_phases(texts_dataset: Dataset) -> None:
    fields = {"embedding_source": "glove", "embedding_phases": "1xfrozen,1xtrainable", "epochs": 3}
    straight = build(texts_dataset, vectors(texts_dataset), **fields)
    expected = [Trainer(straight).run_epoch() for _ in range(3)]
    first = build(texts_dataset, vectors(texts_dataset), **fields)
    Trainer(first).run_epoch()
    second = build(texts_dataset, vectors(texts_dataset), **fields)
    second.load_state_dict(first.state_dict())
    assert [Trainer(second).run_epoch() for _ in range(2)] == expected[1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("2xfrozen, 1xtrainable", [(2, False), (1, True)]), ("3xtrainable", [(3, True)])],
)
def test_phases_are_read(text: str, expected: list[tuple[int, bool]]) -> None:
    assert parse_embedding_phases(text) == expected


def test_the_last_phase_goes_on() -> None:
    config = SentimentConfig.create({"embedding_phases": "2xtrainable,1xfrozen"})
    assert [config.embedding_trains(epoch) for epoch in range(1, 6)] == [True, True] + 3 * [False]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embedding_phases": "frozen"}, "'frozen' is not EPOCHSxfrozen"),
        ({"embedding_phases": "0xfrozen"}, "is not EPOCHSxfrozen"),
        ({"embedding_phases": "2xfrozen"}, "never trains an embedding"),
        ({"filter_widths": ""}, "give one width or more"),
        ({"filter_widths": "3,3"}, "each once"),
        ({"filter_widths": "3,4,5", "num_filters": "8,8"}, "2 numbers for 3"),
        ({"architecture": "cnm"}, "did you mean 'cnn'"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SentimentConfig.create(fields)


def test_word_vectors_that_are_not_there_are_asked_for(texts_dataset: Dataset) -> None:
    with pytest.raises(UserError, match="add --data vectors=glove"):
        build(texts_dataset, embedding_source="glove")


@pytest.mark.parametrize("size", [None, 6, 3, 10])
def test_word_vectors_become_an_embedding_of_any_size(
    texts_dataset: Dataset, size: int | None
) -> None:
    arrays = vectors(texts_dataset)
    learner = build(texts_dataset, arrays, embedding_source="glove", embedding_size=size)
    table, given = learner.model.table.detach(), torch.from_numpy(arrays["vectors"])
    assert table.shape[1] == (size or 6)
    assert not table[0].any()
    if size == 3:
        best = torch.linalg.svd(given)[1][:3].square().sum()
        assert float(table.square().sum()) == pytest.approx(float(best), rel=0.1)
    else:
        assert torch.equal(table[1:, :6], given[1:])
    Trainer(learner).run_epoch()


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_first_weights_suit_word_vectors_of_any_scale(
    texts_dataset: Dataset, architecture: str
) -> None:
    """Filters and gates start with the same sums, however long the vectors are."""
    arrays = vectors(texts_dataset)
    sums = []
    for scale in (1.0, 10.0):
        scaled = {"vectors": scale * arrays["vectors"]}
        fields = {"embedding_source": "glove", "architecture": architecture}
        learner = build(texts_dataset, scaled, **NO_DROPOUT, **fields)
        with torch.inference_mode():
            sums.append(learner.model.features(*some(learner)))
    assert float(sums[0].std()) > 0
    torch.testing.assert_close(sums[0], sums[1])


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_word_vectors_of_zeros_train(texts_dataset: Dataset, architecture: str) -> None:
    zeros = {"vectors": np.zeros_like(vectors(texts_dataset)["vectors"])}
    learner = build(texts_dataset, zeros, embedding_source="glove", architecture=architecture)
    assert np.isfinite(Trainer(learner).run_epoch()["val_loss"])


def test_a_random_embedding_of_any_size(texts_dataset: Dataset) -> None:
    data = {"vocabulary_size": 50}
    for size, expected in ((None, 32), (7, 7)):
        table = first_embedding(SentimentConfig.create({"embedding_size": size}), data)
        assert table.shape == (50, expected)


def _looked_up(learner: Sentiment) -> Tensor:
    """What 400 texts of 50 equal words become, [texts, words, channels]."""
    model: SentimentNet = learner.model
    with torch.no_grad():
        model.table.fill_(1.0)
    model.train()
    texts = torch.arange(400).repeat_interleave(50)
    return model.look_up(torch.ones(20_000, dtype=torch.long), texts, 400).view(400, 50, -1)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("architecture", "summed"), [("dense", True), ("cnn", False)])
def test_words_are_dropped_whole_and_the_others_grow_only_where_words_are_summed(
    texts_dataset: Dataset, architecture: str, summed: bool, rate: float
) -> None:
    fields = NO_DROPOUT | {"word_dropout": rate, "architecture": architecture}
    learner = build(texts_dataset, **fields)
    with torch.no_grad():
        learner.model.table[1:] = 1.0
    model = learner.model.train()
    rows = model.look_up(torch.ones(40_000, dtype=torch.long), torch.zeros(40_000).long(), 1)
    assert ((rows == 0).all(1) | (rows == 0).any(1).logical_not()).all()
    assert float((rows == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    stays = 1.0 / (1.0 - rate) if summed else 1.0
    assert float(rows.detach().max()) == pytest.approx(stays, rel=0.01)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_elements_are_dropped_one_by_one(texts_dataset: Dataset, rate: float) -> None:
    values = _looked_up(build(texts_dataset, **NO_DROPOUT | {"embedding_dropout": rate}))
    assert float((values == 0).float().mean()) == pytest.approx(rate, abs=0.005)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.02)
    shares = (values == 0).float().mean((0, 1))
    assert float((shares - rate).abs().max()) < 0.02


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_channels_are_dropped_for_a_whole_text(texts_dataset: Dataset, rate: float) -> None:
    values = _looked_up(build(texts_dataset, **NO_DROPOUT | {"channel_dropout": rate}))
    assert (values == values[:, :1]).all()
    assert float((values == 0).float().mean()) == pytest.approx(rate, abs=0.02)
    assert len(values[:, 0].unique(dim=0)) > 50


def test_dropouts_of_the_embedding_add_up(texts_dataset: Dataset) -> None:
    fields = {"embedding_dropout": 0.5, "channel_dropout": 0.2}
    values = _looked_up(build(texts_dataset, **NO_DROPOUT | fields))
    assert float((values == 0).float().mean()) == pytest.approx(0.6, abs=0.02)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("site", list(NO_DROPOUT))
def test_each_site_acts_in_training_only(texts_dataset: Dataset, site: str, precision: str) -> None:
    none = build(texts_dataset, precision=precision, **NO_DROPOUT)
    learner = build(texts_dataset, precision=precision, **NO_DROPOUT | {site: 0.5})
    batch = some(learner, 20)
    with torch.no_grad():
        expected = none.model.eval()(*batch)
        assert torch.equal(none.model.train()(*batch), expected)
        assert torch.equal(learner.model.eval()(*batch), expected)
        assert not torch.equal(learner.model.train()(*batch), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_penalties_are_on_the_weights_that_the_fields_name(
    texts_dataset: Dataset, architecture: str
) -> None:
    learner = build(texts_dataset, architecture=architecture, embedding_l2=0.1, dense_l2=0.2)
    by_strength = {0.1: 0, 0.2: 0}
    for weight, strength in learner.penalties():
        assert weight.dim() > 1
        by_strength[float(strength)] += weight.numel()
    weights = [p.numel() for p in learner.model.parameters() if p.dim() > 1]
    assert by_strength[0.1] == learner.model.table.numel()
    assert sum(by_strength.values()) == sum(weights)


def test_lstm_batches_hold_texts_of_like_length_and_every_text_once(texts_dataset: Dataset) -> None:
    learner = build(texts_dataset, architecture="lstm", batch_size=8)
    batches = list(learner.batches(torch.Generator().manual_seed(1)))
    assert len(batches) == learner.num_batches()
    ids = np.concatenate([batch[0].numpy() for batch in batches])
    assert sorted(map(bytes, ids)) == sorted(map(bytes, texts_dataset.arrays["train_ids"]))
    spreads = [int(lengths.max() - lengths.min()) for _, lengths, _ in batches]
    assert np.mean(spreads) < 6


def test_the_held_out_share_is_of_the_training_texts(texts_csv: Any) -> None:
    config = SentimentData.create({"dataset": str(texts_csv), "validation": 0.2, "length": 12})
    dataset = Sentiment.load_data(config)
    sizes = [len(dataset.arrays[f"{n}_labels"]) for n in ("train", "val")]
    assert sizes[1] / sum(sizes) == pytest.approx(0.2, abs=0.02)
    assert dataset.arrays["train_ids"].shape[1] == 12
    assert dataset.info.class_names == ("a", "b", "c")
