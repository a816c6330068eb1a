"""The fast layers against PyTorch's own, and the rates of their dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raysweep.trainables.texts.fast_layers import (
    dropout,
    embed,
    keep_mask,
    kept_share,
    linear,
    rearrange,
)
from raysweep.trainables.texts.ragged import flatten, left_aligned

TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rate", [0.0, 0.003, 0.25, 0.7, 0.95])
def test_a_mask_keeps_the_share_that_it_says(rate: float, dtype: torch.dtype) -> None:
    mask = keep_mask((1000, 997), rate, dtype, "cpu")
    assert mask.element_size() == dtype.itemsize
    assert set(mask.unique().tolist()) <= {0, -1}
    assert kept_share(rate) == pytest.approx(1 - rate, abs=1 / 65536)
    kept = float((mask == -1).double().mean())
    assert kept == pytest.approx(kept_share(rate), abs=5e-4 * 4)
    assert rate or kept == 1.0


def test_a_mask_has_no_pattern() -> None:
    mask = (keep_mask((512, 512), 0.3, torch.bfloat16, "cpu") == -1).double()
    for axis in (0, 1):
        assert float((mask.mean(axis) - 0.7).abs().max()) < 0.1
        shifted = torch.roll(mask, 1, axis)
        assert float(((mask - 0.7) * (shifted - 0.7)).mean().abs()) < 0.003


def test_a_seed_fixes_the_mask() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(keep_mask((64, 9), 0.5, torch.bfloat16, "cpu"))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("dtype", TYPES)
def test_dropout_scales_what_it_keeps_and_its_gradient_alike(dtype: torch.dtype) -> None:
    values = torch.ones(300, 200, dtype=dtype, requires_grad=True)
    dropped = dropout(values, 0.25)
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(4 / 3, dtype=dtype))}
    dropped.backward(torch.ones_like(dropped))
    assert torch.equal(values.grad, dropped.detach())
    assert dropout(values, 0.0) is values


@pytest.mark.parametrize(("dtype", "tolerance"), [(TYPES[0], 1e-5), (TYPES[1], 0.02)])
def test_embedding_equals_pytorchs(dtype: torch.dtype, tolerance: float) -> None:
    table = torch.randn(20, 6, requires_grad=True)
    ids = torch.randint(0, 20, (400,))
    mask = keep_mask((400, 6), 0.4, dtype, "cpu")
    weights = torch.randn(400, 6)
    found = embed(table, ids, mask, 1.5, dtype)
    (grad,) = torch.autograd.grad((found.float() * weights).sum(), table)
    expected = nn.functional.embedding(ids, table, padding_idx=0) * (mask == -1) * 1.5
    (expected_grad,) = torch.autograd.grad((expected * weights).sum(), table)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, rtol=tolerance, atol=tolerance)
    assert torch.allclose(grad, expected_grad, rtol=tolerance, atol=10 * tolerance)
    assert not grad[0].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(TYPES[0], 1e-4), (TYPES[1], 0.03)])
def test_linear_equals_pytorchs(dtype: torch.dtype, tolerance: float) -> None:
    layer = nn.Linear(300, 20)
    values = torch.randn(16, 300, requires_grad=True)
    weights = torch.randn(16, 20)
    results = []
    for found in (linear(values.to(dtype), layer.weight, layer.bias).float(), layer(values)):
        inputs = (values, layer.weight, layer.bias)
        results.append([found, *torch.autograd.grad((found * weights).sum(), inputs)])
    for one, other in zip(*results, strict=True):
        assert one.dtype == torch.float32
        assert float(((one - other).norm() / other.norm()).detach()) < tolerance


@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_ragged_batch_holds_every_word_once_and_unfolds_to_the_padded_one(
    width: int, pool: int
) -> None:
    length = 11
    lengths = torch.tensor([11, 1, 4, 7], dtype=torch.int32)
    ids = torch.zeros(4, length, dtype=torch.int16)
    for row, size in enumerate(lengths.tolist()):
        ids[row, length - size :] = torch.arange(1, size + 1) + 20 * row
    ragged = flatten(ids, lengths, width, pool)
    left = (width - 1) // 2
    rows = ragged.ids[left : len(ragged.ids) - (width - 1 - left)]
    assert len(rows) % pool == 0
    assert rows[rows > 0].tolist() == ids[ids > 0].tolist()
    assert torch.equal((rows == 0).nonzero()[:, 0], ragged.gaps)
    # No filter that starts from a word of one text reaches a word of another.
    texts = ragged.texts
    for start in range(len(texts) - width + 1):
        seen = texts[start : start + width]
        assert len(seen[seen < 4].unique()) <= 1
    places = -(-length // pool)
    padded = nn.functional.pad(ids, (places * pool - length, 0)).long()
    pooled = rows.view(-1, pool).amax(1, keepdim=True).float().requires_grad_()
    unfolded = rearrange(pooled, ragged.spread, ragged.gathered)
    assert unfolded.view(4, places).tolist() == padded.view(4, places, pool).amax(2).tolist()
    weights = torch.arange(1.0, len(unfolded) + 1)[:, None]
    (unfolded * weights).sum().backward()
    expected = torch.zeros(len(pooled), 1)
    expected.index_add_(0, ragged.spread, weights)
    words = pooled.detach() > 0
    assert torch.equal(pooled.grad[words], expected[words])
    for text, (start, count) in enumerate(zip(ragged.starts, ragged.counts, strict=True)):
        assert pooled[start : start + count].max() == ids[text].max()


def test_texts_are_moved_to_the_front() -> None:
    ids = torch.tensor([[0, 0, 3, 4], [0, 0, 0, 5], [0, 1, 2, 3]], dtype=torch.int16)
    moved = left_aligned(ids, torch.tensor([2, 1, 3], dtype=torch.int32))
    assert moved.tolist() == [[3, 4, 0], [5, 0, 0], [1, 2, 3]]
