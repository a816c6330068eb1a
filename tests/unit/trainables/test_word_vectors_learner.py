"""Word vectors' training: windows, random words, the two tasks' scores, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.sequences.config import WordsConfig, WordVectorsConfig, _joined
from raysweep.trainables.sequences.word_vectors import Noise, WordVectorsLearner
from raysweep.trainables.trainer import Trainer

TASKS = ("corrupted", "skip_gram")


@pytest.fixture(scope="module")
def text(text_file: Path) -> Dataset:
    return WordVectorsLearner.load_data(WordsConfig.create({"dataset": str(text_file)}))


def build(data: Dataset, **fields: Any) -> WordVectorsLearner:
    small = {"embedding_size": 6, "hidden_size": 8, "window": 5, "batch_size": 100}
    return WordVectorsLearner(WordVectorsConfig.create({**small, **fields}), data.arrays)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_random_words_come_by_their_frequency_and_are_never_the_word_itself(power: float) -> None:
    counts = torch.tensor([0, 50, 30, 15, 5, 0])
    noise = Noise(counts, power)
    for instead in (1, 3, 4):
        drawn = noise.draw(torch.full((4000,), instead), 2, generator()).flatten()
        weights = torch.where(counts > 0, counts.double() ** power, 0.0)
        weights[instead] = 0
        shares = torch.bincount(drawn, minlength=6) / len(drawn)
        assert shares[instead] == 0
        assert torch.allclose(shares.double(), weights / weights.sum(), atol=0.03)


def test_rounding_never_leads_to_the_word_itself() -> None:
    noise = Noise(torch.tensor([0, 10**12, 1, 1]), 1.0)
    assert 1 not in noise.draw(torch.ones(2000, dtype=torch.long), 1, generator())
    assert set(noise._next.tolist()) == {1, 2, 3}


def test_one_word_alone_is_refused() -> None:
    with pytest.raises(UserError, match="fewer than two different words"):
        Noise(torch.tensor([0, 7, 0]), 0.75)


@pytest.mark.parametrize("task", TASKS)
def test_an_epoch_has_every_window_once(text: Dataset, task: str) -> None:
    learner = build(text, task=task)
    ids = learner.data["train_ids"].long()
    expected = sorted(ids.unfold(0, 5, 1).tolist())
    found = torch.cat([windows for windows, _ in learner.batches(generator())])
    assert sorted(found.tolist()) == expected


def test_a_corrupted_window_differs_in_its_middle_word_only(text: Dataset) -> None:
    learner = build(text)
    learner.model.eval()
    windows, noise = next(learner.batches(generator()))
    assert noise.shape == (100, 1)
    assert (noise[:, 0] != windows[:, 2]).all()
    assert (noise > 0).all()
    corrupted = windows.clone()
    corrupted[:, 2] = noise[:, 0]
    _, score = learner.model(windows, noise)
    as_real, _ = learner.model(corrupted, noise)
    assert torch.allclose(score, as_real, atol=1e-6)


def test_skip_gram_scores_are_products_of_vectors(text: Dataset) -> None:
    learner = build(text, task="skip_gram", num_negatives=3)
    torch.nn.init.normal_(learner.model.context.weight)
    windows, noise = next(learner.batches(generator()))
    real, random = learner.model(windows, noise)
    assert (real.shape, random.shape) == ((100, 4), (100, 3))
    into, out = learner.model.embedding.weight, learner.model.context.weight
    assert real[7, 3].item() == pytest.approx((into[windows[7, 2]] @ out[windows[7, 4]]).item())
    assert random[9, 1].item() == pytest.approx((into[windows[9, 2]] @ out[noise[9, 1]]).item())


@pytest.mark.parametrize(("task", "guess"), [("corrupted", 2), ("skip_gram", 4)])
def test_a_network_that_knows_nothing_guesses(text: Dataset, task: str, guess: int) -> None:
    learner = build(text, task=task, num_negatives=3)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.zero_()
    assert learner.validate()["val_loss"] == pytest.approx(guess * np.log(2))


@pytest.mark.parametrize(("task", "least"), [("corrupted", 0.9), ("skip_gram", 0.75)])
def test_it_learns_which_words_fit(text: Dataset, task: str, least: float) -> None:
    learner = build(text, task=task, epochs=10, learning_rate=0.05, window=3, batch_size=50)
    for _ in range(10):
        result = Trainer(learner).run_epoch()
    assert result["val_accuracy"] > least
    found = learner.embeddings(text.info)["words"]
    assert found.labels == list(text.info.symbols[1:-1])
    assert found.vectors.shape == (len(found), 6)


def test_every_trial_is_asked_the_same_questions(text: Dataset, monkeypatch: Any) -> None:
    asked = []
    original = WordVectorsLearner.questions

    def spy(self: Any, *arguments: Any) -> Any:
        asked.append(original(self, *arguments))
        return asked[-1]

    monkeypatch.setattr(WordVectorsLearner, "questions", spy)
    for seed in (0, 1):
        build(text, seed=seed).validate()
    assert all(torch.equal(one, other) for one, other in zip(*asked, strict=True))


def test_windows_around_frequent_words_weigh_less(text: Dataset) -> None:
    learner = build(text, frequent=0.01)
    counts = torch.bincount(learner.data["train_ids"].long())
    the = text.info.index["the"]
    share = counts[the] / counts.sum()
    assert learner._weights[the].item() == pytest.approx((0.01 / share.item()) ** 0.5)
    assert build(text, frequent=1.0)._weights.eq(1).all()


def test_windows_lie_within_one_text() -> None:
    arrays = {
        "symbols": ("", "a", "b", "<rare>"),
        "train_ids": np.array([0, 1, 2, 1, 2, 0, 1, 0, 2, 1, 2], np.int16),
        "val_ids": np.array([0, 1, 2, 1], np.int16),
    }
    learner = WordVectorsLearner(WordVectorsConfig.create({"window": 3}), arrays)
    assert learner._starts.tolist() == [1, 2, 8]
    learner.config = WordVectorsConfig(window=5)
    for ids in (learner.data["train_ids"], torch.tensor([1, 2]), torch.tensor([])):
        with pytest.raises(UserError, match="window=5 is longer than every text"):
            learner.starts(ids)


def test_a_window_needs_a_middle() -> None:
    with pytest.raises(UserError, match="window=10 has no middle word; use 9 or 11"):
        WordVectorsConfig(window=10)


def test_padded_rows_become_one_with_a_gap_before_each() -> None:
    rows = np.array([[0, 0, 1, 2], [3, 4, 5, 6], [0, 0, 0, 7]], np.int16)
    assert _joined(rows).tolist() == [0, 1, 2, 0, 4, 5, 6, 0, 7]
    assert rows[1, 0] == 3
