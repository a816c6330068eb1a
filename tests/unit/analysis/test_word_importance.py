"""Leaving words out: the quick way gives what the slow one does, and finds the word that counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from raysweep.analysis import word_importance
from raysweep.analysis.word_importance import EncodedText, leave_out
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.texts.config import SentimentConfig
from raysweep.trainables.texts.sentiment import Sentiment
from raysweep.trainables.trainer import Trainer

ARCHITECTURES: list[dict[str, Any]] = [
    {"architecture": "dense"},
    {"architecture": "cnn", "filter_widths": "2,5", "num_filters": "8"},
    {"architecture": "cnn", "pooling": 0},
    {"architecture": "lstm", "lstm_size": 8},
]


def trained(dataset: Dataset, **fields: Any) -> Sentiment:
    values = {"precision": "float32", "learning_rate": 0.01, "hidden_size": 8, "epochs": 2}
    learner = Sentiment(SentimentConfig.create({**values, **fields}), dataset.arrays)
    Trainer(learner).run_epoch()
    return learner


def some_texts(learner: Sentiment) -> list[EncodedText]:
    """Of one word, of one word again and again, of as many as the network reads, and between."""
    length, size = learner.data["train_ids"].shape[1], learner.data["vocabulary_size"]
    rng = np.random.default_rng(5)
    texts = [EncodedText(np.array([3]), np.array([0])), EncodedText(np.full(4, 2), np.zeros(4))]
    for words in (2, 7, length - 1, length):
        groups = np.unique(rng.integers(0, 9, words), return_inverse=True)[1]
        # Different words with one id: rare ones.
        texts.append(EncodedText(rng.integers(1, size, 9)[groups], groups))
    return texts


def one_at_a_time(learner: Sentiment, text: EncodedText) -> np.ndarray:
    """Probabilities of the whole text and of each variant, with plain lists."""
    length = learner.data["train_ids"].shape[1]
    rows = []
    for left_out in [None, *sorted(set(text.groups.tolist()))]:
        words = zip(text.ids.tolist(), text.groups.tolist(), strict=True)
        kept = [word for word, group in words if group != left_out]
        if kept:
            ids = torch.tensor([[0] * (length - len(kept)) + kept], dtype=torch.int32)
            learner.model.eval()
            with torch.no_grad():
                scores = learner.model(ids, torch.tensor([len(kept)], dtype=torch.int32))
            rows.append(scores.double().softmax(1)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("ids_at_once", [1, 100, 1 << 21])
@pytest.mark.parametrize("fields", ARCHITECTURES)
def test_many_at_once_give_what_one_at_a_time_gives(
    texts_dataset: Dataset,
    fields: dict[str, Any],
    ids_at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word_importance, "_IDS_AT_ONCE", ids_at_once)
    learner = trained(texts_dataset, **fields)
    texts = some_texts(learner)
    for text, result in zip(texts, leave_out(learner, texts), strict=True):
        slow = one_at_a_time(learner, text)
        assert result.probabilities == pytest.approx(slow[0], abs=1e-6)
        assert result.without.shape == slow[1:].shape
        assert result.without == pytest.approx(slow[1:], abs=1e-6)
    assert np.ptp(leave_out(learner, texts)[-1].without, 0).max() > 1e-3, "words do count"


def test_the_order_of_texts_and_of_their_words_does_not_matter(texts_dataset: Dataset) -> None:
    learner = trained(texts_dataset)
    texts = some_texts(learner)
    results = leave_out(learner, texts)
    for k, again in enumerate(reversed(leave_out(learner, texts[::-1]))):
        assert again.without == pytest.approx(results[k].without, abs=1e-6)
    last = texts[-1]
    turned = EncodedText(last.ids, last.num_groups - 1 - last.groups)
    again = leave_out(learner, [turned])[0]
    assert again.without[::-1] == pytest.approx(results[-1].without, abs=1e-6)


def test_a_text_of_one_word_has_nothing_to_compare_with(texts_dataset: Dataset) -> None:
    learner = trained(texts_dataset)
    for result in leave_out(learner, some_texts(learner)[:2]):
        assert result.without.shape == (0, 3)
        assert result.probabilities.sum() == pytest.approx(1)


def test_words_stay_where_they_are_not_asked_for(texts_dataset: Dataset) -> None:
    learner = trained(texts_dataset)
    texts = some_texts(learner)
    for quick, whole in zip(
        leave_out(learner, texts, words=False), leave_out(learner, texts), strict=True
    ):
        assert quick.without.shape == (0, 3)
        assert quick.probabilities == pytest.approx(whole.probabilities, abs=1e-6)
    assert leave_out(learner, []) == []


def test_dropout_is_off_whatever_the_model_did_before(texts_dataset: Dataset) -> None:
    learner = trained(texts_dataset, dense_dropout=0.9)
    learner.model.train()
    first, second = (leave_out(learner, some_texts(learner))[-1] for _ in range(2))
    assert np.array_equal(first.without, second.without)
