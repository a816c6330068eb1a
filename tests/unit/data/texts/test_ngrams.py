"""N-grams: found where they are, counted as naive Bayes does, and a help beside a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.data.texts.ngrams import NgramIndex
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.texts.config import SentimentConfig, SentimentData
from raysweep.trainables.texts.ngram_scores import NgramScores, log_ratios
from raysweep.trainables.texts.sentiment import Sentiment
from raysweep.trainables.trainer import Trainer

SIZE = 6
TEXTS = np.array([[0, 1, 2, 3], [0, 0, 1, 2], [4, 1, 2, 1], [0, 0, 0, 5]], np.int16)


def _of(row: np.ndarray, index: NgramIndex) -> set[tuple[int, ...]]:
    """An encoded text's n-grams as tuples of words."""
    found = set()
    for number in row[row > 0]:
        words = int(np.searchsorted(index.ends, number))
        key, digits = int(index.keys[number - 1]), []
        for _ in range(words):
            key, digit = divmod(key, SIZE)
            digits.append(digit)
        found.add(tuple(reversed(digits)))
    return found


def _plain(texts: np.ndarray, longest: int) -> list[set[tuple[int, ...]]]:
    each = []
    for row in texts:
        words = row[row > 0].tolist()
        runs = {tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words))}
        each.append({run for run in runs if 0 < len(run) <= longest})
    # Slices at the end are shorter n-grams, which are there anyway.
    return each


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_ngrams_of_two_texts_are_found_once_in_each_text(longest: int) -> None:
    texts = np.random.default_rng(0).integers(1, SIZE, (30, 9)).astype(np.int16)
    texts[np.arange(9)[None] < np.arange(30)[:, None] % 9] = 0
    plain = _plain(texts, longest)
    kept = {run for each in plain for run in each if sum(run in other for other in plain) > 1}
    index = NgramIndex.build(texts, SIZE, longest)
    encoded = index.encode(texts)
    assert len(index.keys) == len(kept) == index.ends[-1]
    for row, runs in zip(encoded, plain, strict=True):
        assert len(np.unique(row[row > 0])) == (row > 0).sum()
        assert _of(row, index) == runs & kept


def test_unseen_and_too_long_ngrams_are_passed_over() -> None:
    index = NgramIndex.build(TEXTS, SIZE, 3)
    assert _of(index.encode(np.array([[3, 5, 4]]))[0], index) == set()
    assert _of(index.encode(np.array([[1, 2]]))[0], index) == {(1,), (2,), (1, 2)}
    with pytest.raises(UserError, match="ngrams=5 is too long for vocabulary_size=30000"):
        NgramIndex.build(TEXTS, 30_000, 5)


def test_ratios_are_those_of_naive_bayes() -> None:
    ngrams = torch.tensor([[0, 1, 2], [0, 0, 1], [0, 2, 3]])
    found = log_ratios(ngrams, torch.tensor([0, 0, 1]), num_classes=2, size=4)
    ours, others = np.array([3, 2, 1]) / 6, np.array([1, 2, 2]) / 5
    assert found[0].tolist() == [0.0, 0.0]
    assert found[1:, 0].numpy() == pytest.approx(np.log(ours / others), abs=1e-6)
    assert torch.allclose(found[:, 1], -found[:, 0])


def test_scores_are_sums_over_the_ngrams_of_a_text() -> None:
    scores = NgramScores(torch.tensor([[0.0, 0.0], [1.0, -1.0], [2.0, -2.0]]))
    scores.weights.data = torch.tensor([9.0, 0.5, 2.0])
    assert scores(torch.tensor([[0, 1, 2], [0, 0, 7]])).tolist() == [[4.5, -4.5], [0.0, 0.0]]


def _with_ngrams(dataset: Dataset, longest: int = 2) -> dict[str, Any]:
    arrays = dict(dataset.arrays)
    index = NgramIndex.build(arrays["train_ids"], arrays["vocabulary_size"], longest)
    arrays |= {"ngram_keys": index.keys, "ngram_ends": index.ends}
    for name in ("train", "val"):
        arrays[f"{name}_ngrams"] = index.encode(arrays[f"{name}_ids"])
    return arrays


def test_a_network_learns_as_without_them_and_scores_are_the_mean(texts_dataset: Dataset) -> None:
    arrays = _with_ngrams(texts_dataset)
    fields = {"hidden_size": 8, "epochs": 2, "precision": "float32"}
    alone = Sentiment(SentimentConfig.create(fields), arrays)
    both = Sentiment(SentimentConfig.create({**fields, "ngrams": 2}), arrays)
    for learner in (alone, both):
        Trainer(learner).run_epoch()
        learner.model.eval()
    texts = both.data["val_ids"], both.data["val_lengths"]
    with torch.no_grad():
        network, ngrams = alone.scores(*texts), both.model.ngrams(both.data["val_ngrams"])  # type: ignore[misc]
        together = both.scores(*texts, both.data["val_ngrams"])
        looked_up = both.scores(*texts)
    assert torch.allclose(together, (network + ngrams) / 2, atol=1e-5)
    assert torch.equal(together, looked_up)
    assert ngrams.abs().max() > 0


def test_shorter_ngrams_than_the_data_have(texts_dataset: Dataset) -> None:
    arrays = _with_ngrams(texts_dataset, 3)
    learner = Sentiment(SentimentConfig.create({"ngrams": 1}), arrays)
    assert len(learner.model.ngrams.weights) == arrays["ngram_ends"][1] + 1  # type: ignore[union-attr]
    assert np.isfinite(Trainer(learner).run_epoch()["val_loss"])


def test_ngrams_that_the_data_lack_are_refused(texts_dataset: Dataset) -> None:
    config = SentimentConfig.create({"ngrams": 3})
    with pytest.raises(UserError, match="--data ngrams=3"):
        Sentiment.check(config, SentimentData())
    with pytest.raises(UserError, match="--data ngrams=3"):
        Sentiment(config, _with_ngrams(texts_dataset, 2))
