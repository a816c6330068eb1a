"""The recurrent networks: streams and their state, sampling, what is measured, what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raysweep.core.errors import UserError
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.learner import seed_everything
from raysweep.trainables.sequences.char_rnn import CharRNN
from raysweep.trainables.sequences.config import CharRNNConfig, SequenceConfig
from raysweep.trainables.sequences.recurrent import choose
from raysweep.trainables.trainer import Trainer

CELLS = ("rnn", "gru", "lstm")


def dataset(path: Path, **fields: Any) -> Dataset:
    return CharRNN.load_data(SequenceConfig.create({"dataset": str(path), **fields}))


def build(data: Dataset, **fields: Any) -> CharRNN:
    small = {"hidden_size": 12, "embedding_size": 6, "sequence_length": 10, "batch_size": 7}
    none = {"output_dropout": 0.0, "layer_dropout": 0.0}
    return CharRNN(CharRNNConfig.create({**small, **none, **fields}), data.arrays)


@pytest.fixture(scope="module")
def text(text_file: Path) -> Dataset:
    return dataset(text_file)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_temperature_0_takes_the_likeliest_and_small_ones_nearly_always() -> None:
    scores = torch.tensor([0.1, 2.0, 1.9, -math.inf])
    assert choose(scores, 0.0, generator()) == 1
    assert {choose(scores, t, generator(s)) for t in (1e-3, 1e-320) for s in range(20)} == {1}


def test_temperature_1_draws_as_learned_and_never_the_impossible() -> None:
    shares = torch.tensor([0.2, 0.5, 0.3, 0.0])
    one = generator()
    drawn = torch.tensor([choose(shares.log(), 1.0, one) for _ in range(3000)])
    assert torch.allclose(torch.bincount(drawn, minlength=4) / 3000, shares, atol=0.04)


@pytest.mark.parametrize("temperature", [-0.1, math.nan, math.inf])
def test_a_temperature_that_makes_no_sense(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        choose(torch.zeros(3), temperature, generator())


@pytest.mark.parametrize("cell", CELLS)
def test_windows_with_carried_state_are_one_long_window(text: Dataset, cell: str) -> None:
    learner = build(text, cell=cell, num_layers=2)
    learner.model.eval()
    batches = list(learner.batches(generator()))
    rows = min(len(windows) for windows, _ in batches)
    with torch.inference_mode():
        long = torch.cat([windows[:rows, :-1] for windows, _ in batches], 1)
        targets = torch.cat([windows[:rows, 1:] for windows, _ in batches], 1)
        scores, _ = learner.model(long)
        expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        losses = [learner.loss((windows[:rows], number)) for windows, number in batches]
    assert torch.stack(losses).mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_gradient_flows_into_the_window_before(text: Dataset) -> None:
    learner = build(text)
    for batch in learner.batches(generator()):
        learner.loss(batch).backward()  # would raise if the graph of the last one were needed


def test_an_epoch_starts_with_empty_states_and_so_do_windows_without_carrying(
    text: Dataset,
) -> None:
    for carry, same in ((True, False), (False, True)):
        learner = build(text, carry_state=carry)
        learner.model.eval()
        first, second, *_ = learner.batches(generator())
        empty = learner.loss(first).item()
        after = learner.loss(second).item()
        assert learner.loss(first).item() == empty
        learner._state = None
        assert (learner.loss(second).item() == after) is same


def test_streams_are_consecutive_text_and_cover_it_once(text: Dataset) -> None:
    learner = build(text)
    batches = [windows for windows, _ in learner.batches(generator(5))]
    for before, after in itertools.pairwise(batches):
        assert torch.equal(before[: len(after), -1], after[:, 0])
    assert len(batches[-1]) < 7  # the longer streams
    ids = learner.data["train_ids"]
    seen = sum(windows[:, :-1].numel() for windows in batches)
    assert len(ids) - 10 <= seen < len(ids)
    ring = torch.cat([ids, ids[:400]]).tolist()
    row = torch.cat([windows[0, :-1] for windows in batches]).tolist()[:300]
    assert any(ring[k : k + 300] == row for k in range(len(ids)))


def test_evaluation_is_the_mean_over_every_symbol_of_32_streams(text: Dataset) -> None:
    learner = build(text, cell="gru")
    ids = learner.data["val_ids"].long()
    learner.model.eval()
    length = -(-(len(ids) - 1) // 32)
    nats, right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, length):
            part = ids[start : start + length + 1]
            scores, _ = learner.model(part[None, :-1])
            nats += torch.nn.functional.cross_entropy(scores[0], part[1:], reduction="sum").item()
            right += int((scores[0].argmax(1) == part[1:]).sum())
    result = learner.validate()
    assert result["val_loss"] == pytest.approx(nats / (len(ids) - 1), rel=1e-5)
    assert result["val_accuracy"] == right / (len(ids) - 1)
    assert result["val_bits"] == pytest.approx(result["val_loss"] / math.log(2))


@pytest.mark.parametrize("carry", [False, True])
def test_only_the_symbol_after_a_window_counts_where_only_that_is_learned(
    text: Dataset, carry: bool
) -> None:
    learner = build(text, predict="last", carry_state=carry, sequence_length=3)
    learner.model.eval()
    ids = learner.data["val_ids"].long()
    windows, number = next(learner.batches(generator()))
    expected = torch.nn.functional.cross_entropy(
        learner.model(windows[:, :-1])[0][:, -1], windows[:, -1]
    )
    assert learner.loss((windows, number)).item() == pytest.approx(expected.item())
    result = learner.validate()
    assert 0 < result["val_loss"] < 10
    if not carry:
        starts = torch.arange(0, len(ids) - 3, 3)
        scores, _ = learner.model(ids[starts[:, None] + torch.arange(3)])
        plain = torch.nn.functional.cross_entropy(scores[:, -1], ids[starts + 3])
        assert result["val_loss"] == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("size", [6, 12])
def test_tied_weights_are_one_and_stay_one(text: Dataset, size: int) -> None:
    learner = build(text, tied_weights=True, embedding_size=size)
    Trainer(learner).run_epoch()
    assert learner.model.output.weight is learner.model.embedding.weight
    again = build(text, tied_weights=True, embedding_size=size)
    again.load_state_dict(learner.state_dict())
    assert again.model.output.weight is again.model.embedding.weight
    assert again.validate() == learner.validate()


def test_dropout_is_where_the_configuration_says(text: Dataset) -> None:
    ids = torch.ones(1, 50, dtype=torch.long)
    for field in ("input_dropout", "layer_dropout", "output_dropout"):
        learner = build(text, num_layers=2, **{field: 0.5})
        learner.model.train()
        seed_everything(0)
        one, other = (learner.model(ids)[0] for _ in range(2))
        assert not torch.equal(one, other)
    plain = build(text, num_layers=1, layer_dropout=0.9)
    plain.model.train()
    assert torch.equal(plain.model(ids)[0], plain.model(ids)[0])


def test_gradients_are_cut(text: Dataset) -> None:
    learner = build(text, max_norm=0.01)
    learner.loss(next(learner.batches(generator()))).backward()
    learner.limit_gradients()
    squares = [p.grad.square().sum() for p in learner.model.parameters() if p.grad is not None]
    assert sum(squares).item() ** 0.5 == pytest.approx(0.01, rel=1e-3)


def test_writing_is_a_function_of_its_seed(text: Dataset) -> None:
    learner = build(text)
    begin = torch.tensor([3, 4])
    one, same, other = (list(learner.generate(begin, 50, 1.0, generator(s))) for s in (1, 1, 2))
    assert one == same != other
    assert len(one) == 50
    assert 0 not in one
    cold = [list(learner.generate(begin, 20, 0.0, generator(s))) for s in (1, 2)]
    assert cold[0] == cold[1]


def test_writing_goes_on_from_all_that_was_written(text: Dataset) -> None:
    learner = build(text)
    learner.model.eval()
    ids = [3, 4, *learner.generate(torch.tensor([3, 4]), 8, 0.0, generator())]
    scores = learner.model(torch.tensor([ids]))[0][0]
    scores[:, 0] = -math.inf
    assert scores.argmax(1)[1:-1].tolist() == ids[2:]


def test_words_are_written_without_the_rare_one(text_file: Path) -> None:
    data = dataset(text_file, unit="words", vocabulary_size=6)
    learner = build(data, batch_size=64)
    assert data.info.symbols[-1] == "<rare>"
    Trainer(learner).run_epoch()
    written = list(learner.generate(torch.tensor([1]), 200, 2.0, generator()))
    assert not {0, 5} & set(written)
    assert "→" in learner.samples()["sample/temperature 0.5"]


def test_samples_do_not_change_what_follows(text: Dataset) -> None:
    one, other = build(text), build(text)
    for learner in (one, other):
        Trainer(learner).run_epoch()
    samples = one.samples()
    assert samples == one.samples()
    assert Trainer(one).run_epoch() == Trainer(other).run_epoch()
    begin = text.info.decode(text.info.validation[:40])
    assert all(each.startswith(f"{begin} → ") for each in samples.values())


def test_a_text_shorter_than_a_window_is_refused(text: Dataset) -> None:
    with pytest.raises(UserError, match="sequence_length=90000 is too long for a training text of"):
        build(text, sequence_length=90_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"caf\xe9 " * 50, "not utf-8"), (b"", "is empty"), (b"abc", "too short")],
)
def test_texts_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        dataset(tmp_path / "bad.txt")


def test_the_encoding_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 " * 50)
    assert "é" in dataset(tmp_path / "a.txt", encoding="latin-1").info.symbols


def test_nietzsche_is_the_published_text(sample: Callable[[str], Path]) -> None:
    sample("nietzsche")
    text = CharRNN.load_data(SequenceConfig()).info
    assert text.num_symbols == 60
    assert len(text.train) + len(text.validation) + len(text.test) in (600_901, 600_902)
